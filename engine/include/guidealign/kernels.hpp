#pragma once

#include <string_view>
#include <vector>

namespace guidealign {

/// The instruction set that dot products and text comparisons use: "avx512", "avx2" or "scalar", the best
/// that this processor has.
[[nodiscard]] std::string_view active_kernel();

/// All that this processor has, fastest first.
[[nodiscard]] std::vector<std::string_view> available_kernels();

/// Uses another one from now on, in the whole process; for tests and measurements. All give the same bits.
/// Throws std::invalid_argument when this processor or this build does not have it.
void use_kernel(std::string_view name);

}  // namespace guidealign
