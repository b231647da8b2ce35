#include <pybind11/stl.h>

#include <limits>
#include <optional>

#include "bindings.hpp"
#include "bound_library.hpp"
#include "gil.hpp"
#include "guidealign/select.hpp"

namespace guidealign::binding {
namespace {

/// A row takes about three microseconds.
constexpr py::ssize_t many_rows = 16;

py::tuple select(const BoundLibrary& library, const CArray<std::int32_t>& guidelines, const CArray<float>& scores,
                 const CArray<std::int64_t>& matched, const CArray<std::int32_t>& counts,
                 const CArray<std::uint8_t>& allowed, const CArray<std::int32_t>& token_costs,
                 std::optional<std::int64_t> token_budget, const SelectOptions& shared_options) {
    const SelectInputs in = {
        .guidelines = matrix_view(guidelines, "guidelines"),
        .scores = matrix_view(scores, "scores"),
        .matched = matrix_view(matched, "matched"),
        .counts = vector_view(counts, "counts"),
        .allowed = vector_view(allowed, "allowed"),
        .token_costs = vector_view(token_costs, "token_costs"),
    };
    SelectOptions options = shared_options;
    options.token_budget = token_budget.value_or(std::numeric_limits<std::int64_t>::max());

    const auto rows = guidelines.shape(0);
    const auto columns = static_cast<py::ssize_t>(options.k);
    CArray<std::int32_t> selected({rows, columns});
    CArray<float> selected_scores({rows, columns});
    CArray<std::int64_t> selected_matched({rows, columns});
    CArray<std::int32_t> selected_counts(rows);
    CArray<float> risks(rows);
    const SelectOutputs out = {writable(selected), writable(selected_scores), writable(selected_matched),
                               writable_vector(selected_counts), writable_vector(risks)};

    {
        const GilReleaseIf release(rows >= many_rows);
        select_batch(library.view(), in, options, out);
    }
    return py::make_tuple(selected, selected_scores, selected_matched, selected_counts, risks);
}

}  // namespace

void bind_select(py::module_& module) {
    module.attr("RISK_CANDIDATES") = risk_candidates;
    py::class_<RiskModel>(module, "RiskModel")
        .def(py::init([](float bias, float safety, float quality, float temperature) {
                 return RiskModel{.bias = bias, .weights = {safety, quality}, .temperature = temperature};
             }),
             py::kw_only(), py::arg("bias"), py::arg("safety"), py::arg("quality"), py::arg("temperature"));
    py::class_<SelectOptions>(module, "SelectOptions")
        .def(py::init([](std::size_t k, float min_safety_score, float min_quality_score, float relative_cut,
                         double duplicate_ratio, float diversity, std::optional<RiskModel> risk, float min_risk,
                         float max_risk) {
                 return SelectOptions{.k = k,
                                      .min_score = {min_safety_score, min_quality_score},
                                      .relative_cut = relative_cut,
                                      .duplicate_ratio = duplicate_ratio,
                                      .diversity = diversity,
                                      .risk = risk,
                                      .min_risk = min_risk,
                                      .max_risk = max_risk};
             }),
             py::kw_only(), py::arg("k"), py::arg("min_safety_score"), py::arg("min_quality_score"),
             py::arg("relative_cut"), py::arg("duplicate_ratio"), py::arg("diversity"), py::arg("risk"),
             py::arg("min_risk"), py::arg("max_risk"));
    module.def("select", &select, py::arg("library"), py::arg("guidelines").noconvert(), py::arg("scores").noconvert(),
               py::arg("matched").noconvert(), py::arg("counts").noconvert(), py::arg("allowed").noconvert(),
               py::arg("token_costs").noconvert(), py::arg("token_budget"), py::arg("options"));
}

}  // namespace guidealign::binding
