#include "bindings.hpp"
#include "bound_library.hpp"

namespace guidealign::binding {
namespace {

GuidelineSymbols symbols_view(const py::array& symbols, std::span<const std::int64_t> offsets) {
    require_dimensions(symbols, 1, "symbols");
    const auto size = static_cast<std::size_t>(symbols.size());
    if (py::isinstance<CArray<std::uint8_t>>(symbols)) {
        return RaggedView<std::uint8_t>{{static_cast<const std::uint8_t*>(symbols.data()), size}, offsets};
    }
    if (py::isinstance<CArray<std::uint16_t>>(symbols)) {
        return RaggedView<std::uint16_t>{{static_cast<const std::uint16_t*>(symbols.data()), size}, offsets};
    }
    throw std::invalid_argument("symbols have dtype " + std::string(py::str(symbols.dtype())) +
                                "; allowed: uint8, uint16");
}

}  // namespace

BoundLibrary::BoundLibrary(py::array vectors, CArray<float> scales, CArray<std::int32_t> owners,
                           CArray<std::int64_t> vector_offsets, CArray<float> priority, CArray<std::uint8_t> kinds,
                           py::array symbols, CArray<std::int64_t> symbol_offsets, std::size_t alphabet_size)
    : arrays_(py::make_tuple(vectors, scales, owners, vector_offsets, priority, kinds, symbols, symbol_offsets)),
      view_{
          .vectors = stored_vectors(vectors, scales),
          .owners = vector_view(owners, "owners"),
          .vector_offsets = vector_view(vector_offsets, "vector_offsets"),
          .priority = vector_view(priority, "priority"),
          .kinds = vector_view(kinds, "kinds"),
          .symbols = symbols_view(symbols, vector_view(symbol_offsets, "symbol_offsets")),
          .alphabet_size = alphabet_size,
      } {
    const py::gil_scoped_release release;
    check(view_);
}

void bind_library(py::module_& module) {
    py::class_<BoundLibrary>(module, "Library")
        .def(py::init<py::array, CArray<float>, CArray<std::int32_t>, CArray<std::int64_t>, CArray<float>,
                      CArray<std::uint8_t>, py::array, CArray<std::int64_t>, std::size_t>(),
             py::kw_only(), py::arg("vectors").noconvert(), py::arg("scales").noconvert(),
             py::arg("owners").noconvert(), py::arg("vector_offsets").noconvert(), py::arg("priority").noconvert(),
             py::arg("kinds").noconvert(), py::arg("symbols").noconvert(), py::arg("symbol_offsets").noconvert(),
             py::arg("alphabet_size"));
}

}  // namespace guidealign::binding
