#include "arrays.hpp"
#include "bindings.hpp"
#include "guidealign/padding.hpp"

namespace guidealign::binding {
namespace {

template <class T>
CArray<T> to_matrix(const std::vector<T>& values, std::size_t rows, std::size_t columns) {
    return CArray<T>({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(columns)}, values.data());
}

/// Takes a few microseconds for a batch, so the GIL is kept.
py::list runs_of(const CArray<std::int64_t>& ids, const CArray<std::int64_t>& offsets, std::size_t most_ids) {
    py::list runs;
    for (const PaddedRun& run : padded_runs(vector_view(ids, "ids"), vector_view(offsets, "offsets"), most_ids)) {
        runs.append(py::make_tuple(to_array(run.texts), to_matrix(run.ids, run.texts.size(), run.width),
                                   to_matrix(run.is_token, run.texts.size(), run.width)));
    }
    return runs;
}

}  // namespace

void bind_padding(py::module_& module) {
    module.def("padded_runs", &runs_of, py::arg("ids").noconvert(), py::arg("offsets").noconvert(),
               py::arg("most_ids"));
}

}  // namespace guidealign::binding
