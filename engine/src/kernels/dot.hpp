#pragma once

#include <cstddef>
#include <cstdint>

#include "guidealign/vectors.hpp"

/// Dot products of a float query with a stored vector.
///
/// One meaning for every instruction set, to the last bit: element i is multiplied, rounded, and added to lane i % 32;
/// then the lanes are halved by adding lane i + n/2 to lane i until one is left. So a wide register only holds more
/// lanes at once, and an answer never depends on the processor. No fused multiply-add: it would round differently.
namespace guidealign::kernels {

inline constexpr std::size_t lanes = 32;

struct DotKernels {
    float (*half)(const float* query, const Half* vector, std::size_t dimension);
    float (*int8)(const float* query, const std::int8_t* vector, std::size_t dimension);
};

extern const DotKernels scalar_dot;
#if defined(GUIDEALIGN_HAS_X86)
extern const DotKernels avx2_dot;
extern const DotKernels avx512_dot;
#endif

/// The kernels in use; see use_kernel.
[[nodiscard]] const DotKernels& active_dot();

[[nodiscard]] float to_float(Half value);

/// Adds up the lanes in the order that all kernels share. `sums` is changed.
[[nodiscard]] inline float add_lanes(float* sums) {
    for (std::size_t width = lanes / 2; width > 0; width /= 2) {
        for (std::size_t i = 0; i < width; ++i) sums[i] += sums[i + width];
    }
    return sums[0];
}

}  // namespace guidealign::kernels
