#include <immintrin.h>

#include "dot.hpp"

namespace guidealign::kernels {
namespace {

constexpr std::size_t width = 16;
constexpr std::size_t registers = lanes / width;

__m512 load(const Half* vector) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(vector)));
}
__m512 load(const std::int8_t* vector) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(vector))));
}

float widen(Half value) {
    return to_float(value);
}
float widen(std::int8_t value) {
    return static_cast<float>(value);
}

/// The order of add_lanes, without leaving the registers.
float add_registers(const __m512* sums) {
    const __m512 sixteen = _mm512_add_ps(sums[0], sums[1]);
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

template <class Stored>
float dot(const float* query, const Stored* vector, std::size_t dimension) {
    __m512 sums[registers] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    std::size_t i = 0;
    for (; i + lanes <= dimension; i += lanes) {
        for (std::size_t r = 0; r < registers; ++r) {
            const __m512 product = _mm512_mul_ps(_mm512_loadu_ps(query + i + r * width), load(vector + i + r * width));
            sums[r] = _mm512_add_ps(sums[r], product);
        }
    }
    if (i == dimension) return add_registers(sums);
    alignas(64) float tail[lanes];
    for (std::size_t r = 0; r < registers; ++r) _mm512_store_ps(tail + r * width, sums[r]);
    for (std::size_t lane = 0; i < dimension; ++i, ++lane) tail[lane] += query[i] * widen(vector[i]);
    return add_lanes(tail);
}

}  // namespace

const DotKernels avx512_dot = {.half = &dot<Half>, .int8 = &dot<std::int8_t>};

}  // namespace guidealign::kernels
