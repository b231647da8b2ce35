#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "guidealign/vectors.hpp"
#include "guidealign/views.hpp"

namespace guidealign {

/// Guideline texts as small numbers, one a character, for comparing them. Bytes where the alphabet allows.
using GuidelineSymbols = std::variant<RaggedView<std::uint8_t>, RaggedView<std::uint16_t>>;

/// Kinds of guideline that can have a threshold of their own.
inline constexpr std::size_t kind_count = 2;
inline constexpr std::uint8_t safety_kind = 0;
inline constexpr std::uint8_t quality_kind = 1;

/// The columns of a library that the kernels read. All of them belong to the caller.
struct Library {
    StoredVectors vectors;                         ///< (vectors, dimension), those of one guideline side by side
    std::span<const std::int32_t> owners;          ///< (vectors) the guideline of each vector
    std::span<const std::int64_t> vector_offsets;  ///< (guidelines + 1) guideline g owns vectors [g], [g + 1)
    std::span<const float> priority;               ///< (guidelines)
    std::span<const std::uint8_t> kinds;           ///< (guidelines) below kind_count
    GuidelineSymbols symbols;                      ///< (guidelines)
    std::size_t alphabet_size = 0;                 ///< every symbol is below it

    [[nodiscard]] std::size_t size() const { return kinds.size(); }
};

/// Looks at every column once, so that the kernels may trust them. Throws std::invalid_argument with the rule that
/// does not hold: a shape, offsets that fall, a guideline without a vector, an unknown kind, a symbol out of range.
void check(const Library& library);

}  // namespace guidealign
