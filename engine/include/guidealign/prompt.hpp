#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "guidealign/views.hpp"

namespace guidealign {

/// The parts of a guideline block: opening, then for each guideline bullet + entry + separator, then closing.
/// `Unit` is char for text and std::int32_t for token ids.
template <class Unit>
struct BlockParts {
    std::span<const Unit> opening;
    std::span<const Unit> bullet;
    RaggedView<Unit> entries;  ///< one for every guideline of the library
    std::span<const Unit> separator;
    std::span<const Unit> closing;
};

/// Blocks end to end: block i is values[offsets[i] .. offsets[i + 1]); empty where nothing was selected.
template <class Unit>
struct Blocks {
    std::vector<Unit> values;
    std::vector<std::int64_t> offsets;
};

/// Writes one block for each row of selected guidelines (the first counts[row] of it), in library order.
///
/// Library order and not score order, so that the same set always gives the same block and servers that cache
/// prompts by prefix find it again. Throws std::invalid_argument for a guideline outside the entries.
template <class Unit>
[[nodiscard]] Blocks<Unit> assemble_blocks(MatrixView<const std::int32_t> guidelines,
                                           std::span<const std::int32_t> counts, const BlockParts<Unit>& parts);

/// Position of the first marker in a text, or npos. ASCII letters match in either case.
/// `Unit` is as wide as the text's storage: 1, 2 or 4 bytes a code point. Markers are ASCII and not empty.
template <class Unit>
[[nodiscard]] std::size_t find_marker(std::span<const Unit> text, std::span<const std::string_view> markers);

inline constexpr std::size_t no_marker = static_cast<std::size_t>(-1);

}  // namespace guidealign
