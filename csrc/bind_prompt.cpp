#include <pybind11/stl.h>

#include <array>
#include <string>
#include <utility>

#include "arrays.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "guidealign/prompt.hpp"

namespace guidealign::binding {
namespace {

/// A row takes about a microsecond.
constexpr std::size_t many_rows = 128;

std::span<const char> characters(std::string_view text) {
    return {text.data(), text.size()};
}

/// The parts of text blocks, looked at once: a request hands over one object instead of eight arguments.
class TextBlockWriter {
  public:
    TextBlockWriter(std::string opening, std::string bullet, CArray<std::uint8_t> entries,
                    CArray<std::int64_t> entry_offsets, std::string separator, std::string closing)
        : opening_(std::move(opening)),
          bullet_(std::move(bullet)),
          separator_(std::move(separator)),
          closing_(std::move(closing)),
          arrays_(py::make_tuple(entries, entry_offsets)) {
        const auto bytes = vector_view(entries, "entries");
        parts_ = {
            .opening = characters(opening_),
            .bullet = characters(bullet_),
            .entries = {{reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                        vector_view(entry_offsets, "entry_offsets")},
            .separator = characters(separator_),
            .closing = characters(closing_),
        };
    }
    TextBlockWriter(const TextBlockWriter&) = delete;
    TextBlockWriter& operator=(const TextBlockWriter&) = delete;

    [[nodiscard]] std::vector<py::str> assemble(const CArray<std::int32_t>& guidelines,
                                                const CArray<std::int32_t>& counts) const {
        const auto rows = matrix_view(guidelines, "guidelines");
        const auto row_counts = vector_view(counts, "counts");

        Blocks<char> blocks;
        {
            const GilReleaseIf release(rows.rows >= many_rows);
            blocks = assemble_blocks(rows, row_counts, parts_);
        }
        std::vector<py::str> texts;
        texts.reserve(rows.rows);
        for (std::size_t row = 0; row < rows.rows; ++row) {
            const auto begin = static_cast<std::size_t>(blocks.offsets[row]);
            const auto end = static_cast<std::size_t>(blocks.offsets[row + 1]);
            texts.emplace_back(blocks.values.data() + begin, end - begin);
        }
        return texts;
    }

  private:
    std::string opening_, bullet_, separator_, closing_;
    py::tuple arrays_;
    BlockParts<char> parts_;
};

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
        const GilReleaseIf release(rows.rows >= many_rows);
        blocks = assemble_blocks(rows, row_counts, parts);
    }
    return {to_array(blocks.values), to_array(blocks.offsets)};
}

template <class Unit>
std::span<const Unit> units(PyObject* text) {
    return {static_cast<const Unit*>(PyUnicode_DATA(text)), static_cast<std::size_t>(PyUnicode_GET_LENGTH(text))};
}

/// Markers, kept as the engine reads them: handing them over anew took longer than looking through a short prompt.
class MarkerFinder {
  public:
    explicit MarkerFinder(std::vector<std::string> markers)
        : markers_(std::move(markers)), views_(markers_.begin(), markers_.end()) {
        for (const std::string_view marker : views_) {
            if (marker.empty()) throw std::invalid_argument("a marker must not be empty");
        }
    }
    MarkerFinder(const MarkerFinder&) = delete;
    MarkerFinder& operator=(const MarkerFinder&) = delete;

    /// Reads the string where Python keeps it, so that a prompt of any size is not copied to be looked at.
    [[nodiscard]] py::ssize_t find(const py::str& text) const {
        PyObject* object = text.ptr();
        const std::span<const std::string_view> markers(views_);
        std::size_t found = no_marker;
        switch (PyUnicode_KIND(object)) {
            case PyUnicode_1BYTE_KIND: found = find_marker(units<std::uint8_t>(object), markers); break;
            case PyUnicode_2BYTE_KIND: found = find_marker(units<char16_t>(object), markers); break;
            default: found = find_marker(units<char32_t>(object), markers); break;
        }
        return found == no_marker ? -1 : static_cast<py::ssize_t>(found);
    }

  private:
    std::vector<std::string> markers_;
    std::vector<std::string_view> views_;
};

}  // namespace

void bind_prompt(py::module_& module) {
    py::class_<TextBlockWriter>(module, "TextBlockWriter")
        .def(py::init<std::string, std::string, CArray<std::uint8_t>, CArray<std::int64_t>, std::string, std::string>(),
             py::kw_only(), py::arg("opening"), py::arg("bullet"), py::arg("entries").noconvert(),
             py::arg("entry_offsets").noconvert(), py::arg("separator"), py::arg("closing"))
        .def("assemble", &TextBlockWriter::assemble, py::arg("guidelines").noconvert(), py::arg("counts").noconvert());
    module.def("assemble_token_blocks", &assemble_token_blocks, py::arg("guidelines").noconvert(),
               py::arg("counts").noconvert(), py::kw_only(), py::arg("opening").noconvert(),
               py::arg("bullet").noconvert(), py::arg("entries").noconvert(), py::arg("entry_offsets").noconvert(),
               py::arg("separator").noconvert(), py::arg("closing").noconvert());
    py::class_<MarkerFinder>(module, "MarkerFinder")
        .def(py::init<std::vector<std::string>>(), py::arg("markers"))
        .def("find", &MarkerFinder::find, py::arg("text"));
}

}  // namespace guidealign::binding
