#include "bindings.hpp"
#include "bound_library.hpp"
#include "guidealign/rerank.hpp"

namespace guidealign::binding {
namespace {

py::tuple rerank(const BoundLibrary& library, const CArray<float>& queries, const CArray<std::int64_t>& candidates,
                 const RerankOptions& options) {
    const RerankInputs in = {
        .queries = matrix_view(queries, "queries"),
        .candidates = matrix_view(candidates, "candidates"),
    };

    const auto rows = candidates.shape(0);
    const auto pool = candidates.shape(1);
    CArray<std::int32_t> guidelines({rows, pool});
    CArray<float> scores({rows, pool});
    CArray<std::int64_t> matched({rows, pool});
    CArray<std::int32_t> counts(rows);
    const RerankOutputs out = {writable(guidelines), writable(scores), writable(matched), writable_vector(counts)};

    {
        const py::gil_scoped_release release;
        rerank_batch(library.view(), in, options, out);
    }
    return py::make_tuple(guidelines, scores, matched, counts);
}

}  // namespace

void bind_rerank(py::module_& module) {
    py::class_<RerankOptions>(module, "RerankOptions")
        .def(py::init([](bool smooth, float smooth_temperature, float prior_weight) {
                 return RerankOptions{.fold = smooth ? Fold::smooth : Fold::best,
                                      .smooth_temperature = smooth_temperature,
                                      .prior_weight = prior_weight};
             }),
             py::kw_only(), py::arg("smooth"), py::arg("smooth_temperature"), py::arg("prior_weight"));
    module.def("rerank", &rerank, py::arg("library"), py::arg("queries").noconvert(), py::arg("candidates").noconvert(),
               py::arg("options"));
}

}  // namespace guidealign::binding
