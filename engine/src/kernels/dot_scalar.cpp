#include <bit>

#include "dot.hpp"

namespace guidealign::kernels {

float to_float(Half value) {
    const auto bits = static_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits & 0x8000U) << 16U;
    const std::uint32_t magnitude = bits & 0x7FFFU;
    if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | ((magnitude & 0x3FFU) << 13U));
    // Moving exponent and mantissa into place leaves the exponent 112 too low; the multiplication by 2^112 mends it,
    // for subnormal numbers too.
    const float scaled = std::bit_cast<float>(magnitude << 13U) * 0x1p112F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
}

namespace {

float widen(Half value) {
    return to_float(value);
}
float widen(std::int8_t value) {
    return static_cast<float>(value);
}

template <class Stored>
float dot(const float* query, const Stored* vector, std::size_t dimension) {
    float sums[lanes] = {};
    for (std::size_t i = 0; i < dimension; ++i) sums[i % lanes] += query[i] * widen(vector[i]);
    return add_lanes(sums);
}

}  // namespace

const DotKernels scalar_dot = {.half = &dot<Half>, .int8 = &dot<std::int8_t>};

}  // namespace guidealign::kernels
