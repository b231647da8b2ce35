#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "guidealign/kernels.hpp"

namespace guidealign::binding {

namespace py = pybind11;

void bind_kernels(py::module_& module) {
    module.def("active_kernel", &active_kernel);
    module.def("available_kernels", &available_kernels);
    module.def("use_kernel", &use_kernel, py::arg("name"));
}

}  // namespace guidealign::binding
