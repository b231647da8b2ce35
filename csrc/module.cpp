#include "bindings.hpp"

PYBIND11_MODULE(_native, module) {
    module.doc() = "The C++ core: rerank, select, assemble. Called by the Python modules of the same names.";
    guidealign::binding::bind_bigrams(module);
    guidealign::binding::bind_dedupe(module);
    guidealign::binding::bind_kernels(module);
    guidealign::binding::bind_library(module);
    guidealign::binding::bind_padding(module);
    guidealign::binding::bind_prompt(module);
    guidealign::binding::bind_rerank(module);
    guidealign::binding::bind_select(module);
    guidealign::binding::bind_windows(module);
    guidealign::binding::bind_wordpiece(module);
}
