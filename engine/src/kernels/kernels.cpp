#include "guidealign/kernels.hpp"

#include <array>
#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "dot.hpp"
#include "lcs.hpp"

namespace guidealign {
namespace {

struct NamedKernels {
    std::string_view name;
    const kernels::DotKernels* dot;
    const kernels::LcsKernels* lcs;
    bool (*runs_here)();
};

#if defined(GUIDEALIGN_HAS_X86)
bool has_avx2() {
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("f16c") != 0;
}
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0;
}
#endif
bool always() {
    return true;
}

/// Fastest first.
constexpr std::array all_kernels = {
#if defined(GUIDEALIGN_HAS_X86)
    // Texts are compared four at a time, which fills AVX2's registers and no wider ones.
    NamedKernels{"avx512", &kernels::avx512_dot, &kernels::avx2_lcs, &has_avx512},
    NamedKernels{"avx2", &kernels::avx2_dot, &kernels::avx2_lcs, &has_avx2},
#endif
    NamedKernels{"scalar", &kernels::scalar_dot, &kernels::scalar_lcs, &always},
};

const NamedKernels* best_kernels() {
    for (const auto& candidate : all_kernels) {
        if (candidate.runs_here()) return &candidate;
    }
    return &all_kernels.back();
}

std::atomic<const NamedKernels*>& active() {
    static std::atomic<const NamedKernels*> chosen = best_kernels();
    return chosen;
}

}  // namespace

std::string_view active_kernel() {
    return active().load()->name;
}

std::vector<std::string_view> available_kernels() {
    std::vector<std::string_view> names;
    for (const auto& candidate : all_kernels) {
        if (candidate.runs_here()) names.push_back(candidate.name);
    }
    return names;
}

void use_kernel(std::string_view name) {
    for (const auto& candidate : all_kernels) {
        if (candidate.name == name && candidate.runs_here()) {
            active().store(&candidate);
            return;
        }
    }
    std::string available;
    for (const std::string_view other : available_kernels()) {
        available += (available.empty() ? "" : ", ") + std::string(other);
    }
    throw std::invalid_argument("kernel \"" + std::string(name) + "\" is not available here; allowed: " + available);
}

namespace kernels {

const DotKernels& active_dot() {
    return *active().load()->dot;
}

const LcsKernels& active_lcs() {
    return *active().load()->lcs;
}

}  // namespace kernels
}  // namespace guidealign
