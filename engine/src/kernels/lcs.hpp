#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

/// Longest common subsequences of one text with four others at once, bit-parallel (see guidealign/dedupe.hpp).
///
/// The four lie in lanes side by side: masks[(symbol * words + word) * lcs_lanes + lane] has bit i set where the text
/// of that lane has the symbol at 64 * word + i. `state` is scratch of words * lcs_lanes. Writes the length of each
/// lane's longest common subsequence with `text`.
namespace guidealign::kernels {

inline constexpr std::size_t lcs_lanes = 4;

struct LcsKernels {
    void (*bytes)(const std::uint64_t* masks, std::size_t words, std::span<const std::uint8_t> text,
                  std::uint64_t* state, std::size_t* lengths);
    void (*wide)(const std::uint64_t* masks, std::size_t words, std::span<const std::uint16_t> text,
                 std::uint64_t* state, std::size_t* lengths);
};

extern const LcsKernels scalar_lcs;
#if defined(GUIDEALIGN_HAS_X86)
extern const LcsKernels avx2_lcs;
#endif

[[nodiscard]] const LcsKernels& active_lcs();

/// How many positions the subsequence grew at: bits that a lane's state has as 0. Bits beyond a text match nothing and
/// stay 1, so they never count.
void count_lcs(const std::uint64_t* state, std::size_t words, std::size_t* lengths);

}  // namespace guidealign::kernels
