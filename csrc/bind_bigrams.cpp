#include "arrays.hpp"
#include "bindings.hpp"
#include "guidealign/bigrams.hpp"

namespace guidealign::binding {
namespace {

/// A few nanoseconds a token, so the GIL is kept.
py::tuple append(const Bigrams& bigrams, const CArray<std::int64_t>& ids, const CArray<std::int64_t>& offsets) {
    const TokenRows rows = bigrams.append(vector_view(ids, "ids"), vector_view(offsets, "offsets"));
    return py::make_tuple(to_array(rows.ids), to_array(rows.offsets));
}

}  // namespace

void bind_bigrams(py::module_& module) {
    py::class_<Bigrams>(module, "Bigrams")
        .def(py::init([](const CArray<std::int32_t>& pairs, std::int64_t first_id) {
                 return Bigrams(matrix_view(pairs, "pairs"), first_id);
             }),
             py::arg("pairs").noconvert(), py::kw_only(), py::arg("first_id"))
        .def("append", &append, py::arg("ids").noconvert(), py::arg("offsets").noconvert());
}

}  // namespace guidealign::binding
