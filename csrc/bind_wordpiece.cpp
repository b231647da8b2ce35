#include <pybind11/stl.h>

#include <string>
#include <string_view>

#include "arrays.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "guidealign/wordpiece.hpp"

namespace guidealign::binding {
namespace {

/// A kilobyte takes about ten microseconds, and twice that where other stages have had the cache since.
constexpr std::size_t many_bytes = 1 << 11;

/// The text where Python keeps it. Only ASCII strings keep one byte a character that means the same everywhere.
std::string_view ascii_view(const py::handle& text) {
    if (!PyUnicode_Check(text.ptr()) || PyUnicode_IS_COMPACT_ASCII(text.ptr()) == 0) {
        throw std::invalid_argument("a text is no ASCII string");
    }
    return {static_cast<const char*>(PyUnicode_DATA(text.ptr())),
            static_cast<std::size_t>(PyUnicode_GET_LENGTH(text.ptr()))};
}

py::tuple encode(const WordPiece& wordpiece, const py::list& texts, std::size_t max_tokens) {
    std::vector<std::string_view> views;
    views.reserve(texts.size());
    std::size_t bytes = 0;
    for (const py::handle text : texts) {
        views.push_back(ascii_view(text));
        bytes += views.back().size();
    }

    TokenRows rows;
    {
        const GilReleaseIf release(bytes >= many_bytes);
        rows = wordpiece.encode(views, max_tokens);
    }
    return py::make_tuple(to_array(rows.ids), to_array(rows.offsets));
}

}  // namespace

void bind_wordpiece(py::module_& module) {
    py::class_<WordPiece>(module, "WordPiece")
        .def(py::init([](const std::vector<std::string>& pieces, std::int32_t unknown, std::size_t max_word_characters,
                         bool drops_controls) {
                 return WordPiece(pieces, {.unknown = unknown,
                                           .max_word_characters = max_word_characters,
                                           .drops_controls = drops_controls});
             }),
             py::arg("pieces"), py::kw_only(), py::arg("unknown"), py::arg("max_word_characters"),
             py::arg("drops_controls"))
        .def("encode", &encode, py::arg("texts"), py::arg("max_tokens"));
}

}  // namespace guidealign::binding
