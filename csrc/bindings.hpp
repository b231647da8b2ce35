#pragma once

#include <pybind11/pybind11.h>

namespace guidealign::binding {

void bind_bigrams(pybind11::module_& module);
void bind_dedupe(pybind11::module_& module);
void bind_kernels(pybind11::module_& module);
void bind_library(pybind11::module_& module);
void bind_padding(pybind11::module_& module);
void bind_prompt(pybind11::module_& module);
void bind_rerank(pybind11::module_& module);
void bind_select(pybind11::module_& module);
void bind_windows(pybind11::module_& module);
void bind_wordpiece(pybind11::module_& module);

}  // namespace guidealign::binding
