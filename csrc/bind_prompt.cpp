#include <pybind11/stl.h>

#include <array>
#include <string>
#include <utility>

#include "arrays.hpp"
#include "bindings.hpp"
#include "guidealign/prompt.hpp"

namespace guidealign::binding {
namespace {

std::span<const char> characters(std::string_view text) {
    return {text.data(), text.size()};
}

std::pair<py::bytes, CArray<std::int64_t>> assemble_text_blocks(const CArray<std::int32_t>& guidelines,
                                                                const CArray<std::int32_t>& counts,
                                                                std::string_view opening, std::string_view bullet,
                                                                const CArray<std::uint8_t>& entries,
                                                                const CArray<std::int64_t>& entry_offsets,
                                                                std::string_view separator, std::string_view closing) {
    const auto rows = matrix_view(guidelines, "guidelines");
    const auto row_counts = vector_view(counts, "counts");
    const auto entry_bytes = vector_view(entries, "entries");
    const BlockParts<char> parts = {
        .opening = characters(opening),
        .bullet = characters(bullet),
        .entries = {{reinterpret_cast<const char*>(entry_bytes.data()), entry_bytes.size()},
                    vector_view(entry_offsets, "entry_offsets")},
        .separator = characters(separator),
        .closing = characters(closing),
    };

    Blocks<char> blocks;
    {
        const py::gil_scoped_release release;
        blocks = assemble_blocks(rows, row_counts, parts);
    }
    return {py::bytes(blocks.values.data(), blocks.values.size()), to_array(blocks.offsets)};
}

std::pair<CArray<std::int32_t>, CArray<std::int64_t>> assemble_token_blocks(
    const CArray<std::int32_t>& guidelines, const CArray<std::int32_t>& counts, const CArray<std::int32_t>& opening,
    const CArray<std::int32_t>& bullet, const CArray<std::int32_t>& entries, const CArray<std::int64_t>& entry_offsets,
    const CArray<std::int32_t>& separator, const CArray<std::int32_t>& closing) {
    const auto rows = matrix_view(guidelines, "guidelines");
    const auto row_counts = vector_view(counts, "counts");
    const BlockParts<std::int32_t> parts = {
        .opening = vector_view(opening, "opening"),
        .bullet = vector_view(bullet, "bullet"),
        .entries = {vector_view(entries, "entries"), vector_view(entry_offsets, "entry_offsets")},
        .separator = vector_view(separator, "separator"),
        .closing = vector_view(closing, "closing"),
    };

    Blocks<std::int32_t> blocks;
    {
        const py::gil_scoped_release release;
        blocks = assemble_blocks(rows, row_counts, parts);
    }
    return {to_array(blocks.values), to_array(blocks.offsets)};
}

template <class Unit>
std::span<const Unit> units(PyObject* text) {
    return {static_cast<const Unit*>(PyUnicode_DATA(text)), static_cast<std::size_t>(PyUnicode_GET_LENGTH(text))};
}

/// Reads the string where Python keeps it, so that a prompt of any size is not copied to be looked at.
py::ssize_t find_text_marker(const py::str& text, const std::vector<std::string>& markers) {
    const std::vector<std::string_view> views(markers.begin(), markers.end());
    for (const std::string_view marker : views) {
        if (marker.empty()) throw std::invalid_argument("a marker must not be empty");
    }
    PyObject* object = text.ptr();
    std::size_t found = no_marker;
    switch (PyUnicode_KIND(object)) {
        case PyUnicode_1BYTE_KIND: found = find_marker(units<std::uint8_t>(object), std::span(views)); break;
        case PyUnicode_2BYTE_KIND: found = find_marker(units<char16_t>(object), std::span(views)); break;
        default: found = find_marker(units<char32_t>(object), std::span(views)); break;
    }
    return found == no_marker ? -1 : static_cast<py::ssize_t>(found);
}

}  // namespace

void bind_prompt(py::module_& module) {
    module.def("assemble_text_blocks", &assemble_text_blocks, py::arg("guidelines").noconvert(),
               py::arg("counts").noconvert(), py::kw_only(), py::arg("opening"), py::arg("bullet"),
               py::arg("entries").noconvert(), py::arg("entry_offsets").noconvert(), py::arg("separator"),
               py::arg("closing"));
    module.def("assemble_token_blocks", &assemble_token_blocks, py::arg("guidelines").noconvert(),
               py::arg("counts").noconvert(), py::kw_only(), py::arg("opening").noconvert(),
               py::arg("bullet").noconvert(), py::arg("entries").noconvert(), py::arg("entry_offsets").noconvert(),
               py::arg("separator").noconvert(), py::arg("closing").noconvert());
    module.def("find_marker", &find_text_marker, py::arg("text"), py::arg("markers"));
}

}  // namespace guidealign::binding
