#include <algorithm>
#include <bit>

#include "lcs.hpp"

namespace guidealign::kernels {
namespace {

template <class Symbol>
void lcs(const std::uint64_t* masks, std::size_t words, std::span<const Symbol> text, std::uint64_t* state,
         std::size_t* lengths) {
    std::fill_n(state, words * lcs_lanes, ~std::uint64_t{0});
    for (const Symbol symbol : text) {
        const std::uint64_t* match = masks + symbol * words * lcs_lanes;
        std::uint64_t carry[lcs_lanes] = {};
        for (std::size_t i = 0; i < words * lcs_lanes; ++i) {
            const std::uint64_t common = state[i] & match[i];
            const std::uint64_t sum = state[i] + common + carry[i % lcs_lanes];
            // `common` is part of the state, so a carry leaves the top bit exactly where either held it.
            carry[i % lcs_lanes] = (common | (state[i] & ~sum)) >> 63U;
            state[i] = sum | (state[i] & ~match[i]);
        }
    }
    count_lcs(state, words, lengths);
}

}  // namespace

void count_lcs(const std::uint64_t* state, std::size_t words, std::size_t* lengths) {
    std::fill_n(lengths, lcs_lanes, 0);
    for (std::size_t i = 0; i < words * lcs_lanes; ++i) {
        lengths[i % lcs_lanes] += static_cast<std::size_t>(std::popcount(~state[i]));
    }
}

const LcsKernels scalar_lcs = {.bytes = &lcs<std::uint8_t>, .wide = &lcs<std::uint16_t>};

}  // namespace guidealign::kernels
