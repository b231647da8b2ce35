#include <immintrin.h>

#include <algorithm>

#include "lcs.hpp"

namespace guidealign::kernels {
namespace {

__m256i load(const std::uint64_t* words) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

/// One symbol: the same steps as in lcs_scalar.cpp, four lanes to a register.
inline void advance(__m256i& state, __m256i match, __m256i& carry) {
    const __m256i common = _mm256_and_si256(state, match);
    const __m256i sum = _mm256_add_epi64(_mm256_add_epi64(state, common), carry);
    carry = _mm256_srli_epi64(_mm256_or_si256(common, _mm256_andnot_si256(sum, state)), 63);
    state = _mm256_or_si256(sum, _mm256_andnot_si256(match, state));
}

/// With the number of words known, the state stays in registers.
template <std::size_t Words, class Symbol>
void lcs_in_registers(const std::uint64_t* masks, std::span<const Symbol> text, std::uint64_t* state) {
    __m256i registers[Words];
    std::fill_n(registers, Words, _mm256_set1_epi64x(-1));
    for (const Symbol symbol : text) {
        const std::uint64_t* match = masks + symbol * Words * lcs_lanes;
        __m256i carry = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (std::size_t w = 0; w < Words; ++w) advance(registers[w], load(match + w * lcs_lanes), carry);
    }
    for (std::size_t w = 0; w < Words; ++w) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(state + w * lcs_lanes), registers[w]);
    }
}

template <class Symbol>
void lcs_in_memory(const std::uint64_t* masks, std::size_t words, std::span<const Symbol> text, std::uint64_t* state) {
    std::fill_n(state, words * lcs_lanes, ~std::uint64_t{0});
    for (const Symbol symbol : text) {
        const std::uint64_t* match = masks + symbol * words * lcs_lanes;
        __m256i carry = _mm256_setzero_si256();
        for (std::size_t w = 0; w < words; ++w) {
            __m256i word = load(state + w * lcs_lanes);
            advance(word, load(match + w * lcs_lanes), carry);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(state + w * lcs_lanes), word);
        }
    }
}

template <class Symbol>
void lcs(const std::uint64_t* masks, std::size_t words, std::span<const Symbol> text, std::uint64_t* state,
         std::size_t* lengths) {
    switch (words) {
        case 1: lcs_in_registers<1>(masks, text, state); break;
        case 2: lcs_in_registers<2>(masks, text, state); break;
        case 3: lcs_in_registers<3>(masks, text, state); break;
        case 4: lcs_in_registers<4>(masks, text, state); break;
        case 5: lcs_in_registers<5>(masks, text, state); break;
        case 6: lcs_in_registers<6>(masks, text, state); break;
        default: lcs_in_memory(masks, words, text, state); break;
    }
    count_lcs(state, words, lengths);
}

}  // namespace

const LcsKernels avx2_lcs = {.bytes = &lcs<std::uint8_t>, .wide = &lcs<std::uint16_t>};

}  // namespace guidealign::kernels
