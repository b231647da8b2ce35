#include "arrays.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "guidealign/windows.hpp"

namespace guidealign::binding {
namespace {

/// Below it a thread that waits for the GIL would take longer to wake.
constexpr std::size_t many_rows = 32;

py::tuple choose(const CArray<std::int64_t>& ids, const CArray<std::int64_t>& token_offsets,
                 const CArray<std::int64_t>& offsets, const CArray<float>& salience, const WindowOptions& options) {
    const WindowInputs in = {
        .ids = vector_view(ids, "ids"),
        .token_offsets = vector_view(token_offsets, "token_offsets"),
        .offsets = vector_view(offsets, "offsets"),
        .salience = vector_view(salience, "salience"),
    };
    const ChosenWindows chosen = choose_windows(in, options);
    return py::make_tuple(to_array(chosen.windows), to_array(chosen.offsets), to_array(chosen.penalties));
}

py::tuple fold(const CArray<std::int32_t>& guidelines, const CArray<float>& scores, const CArray<std::int64_t>& matched,
               const CArray<std::int32_t>& counts, const CArray<std::int64_t>& offsets,
               const CArray<float>& penalties) {
    const RankedWindows in = {
        .guidelines = matrix_view(guidelines, "guidelines"),
        .scores = matrix_view(scores, "scores"),
        .matched = matrix_view(matched, "matched"),
        .counts = vector_view(counts, "counts"),
        .offsets = vector_view(offsets, "offsets"),
        .penalties = vector_view(penalties, "penalties"),
    };

    const auto rows = std::max<py::ssize_t>(offsets.size() - 1, 0);
    const auto pool = guidelines.shape(1);
    CArray<std::int32_t> folded_guidelines({rows, pool});
    CArray<float> folded_scores({rows, pool});
    CArray<std::int64_t> folded_matched({rows, pool});
    CArray<std::int32_t> folded_counts(rows);
    const FoldedWindows out = {writable(folded_guidelines), writable(folded_scores), writable(folded_matched),
                               writable_vector(folded_counts)};

    {
        const GilReleaseIf release(in.guidelines.rows >= many_rows);
        fold_windows(in, out);
    }
    return py::make_tuple(folded_guidelines, folded_scores, folded_matched, folded_counts);
}

}  // namespace

void bind_windows(py::module_& module) {
    py::class_<WindowOptions>(module, "WindowOptions")
        .def(py::init([](std::size_t most, float end_bonus, float cost) {
                 return WindowOptions{.most = most, .end_bonus = end_bonus, .cost = cost};
             }),
             py::kw_only(), py::arg("most"), py::arg("end_bonus"), py::arg("cost"));
    module.def("choose_windows", &choose, py::arg("ids").noconvert(), py::arg("token_offsets").noconvert(),
               py::arg("offsets").noconvert(), py::arg("salience").noconvert(), py::arg("options"));
    module.def("fold_windows", &fold, py::arg("guidelines").noconvert(), py::arg("scores").noconvert(),
               py::arg("matched").noconvert(), py::arg("counts").noconvert(), py::arg("offsets").noconvert(),
               py::arg("penalties").noconvert());
}

}  // namespace guidealign::binding
