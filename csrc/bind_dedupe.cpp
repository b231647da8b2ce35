#include <algorithm>

#include "arrays.hpp"
#include "bindings.hpp"
#include "guidealign/dedupe.hpp"

namespace guidealign::binding {
namespace {

double ratio(const CArray<std::uint16_t>& left, const CArray<std::uint16_t>& right, std::size_t alphabet_size) {
    const auto left_view = vector_view(left, "left");
    const auto right_view = vector_view(right, "right");
    const auto is_outside = [=](std::uint16_t symbol) { return symbol >= alphabet_size; };
    if (std::any_of(left_view.begin(), left_view.end(), is_outside) ||
        std::any_of(right_view.begin(), right_view.end(), is_outside)) {
        throw std::invalid_argument("every symbol must be below alphabet_size");
    }
    const py::gil_scoped_release release;
    return indel_ratio(left_view, right_view, alphabet_size);
}

}  // namespace

void bind_dedupe(py::module_& module) {
    module.def("indel_ratio", &ratio, py::arg("left").noconvert(), py::arg("right").noconvert(),
               py::arg("alphabet_size"));
}

}  // namespace guidealign::binding
