#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace guidealign {

/// Texts of like length, filled up to the longest of them.
struct PaddedRun {
    std::vector<std::int64_t> texts;     ///< which ones, shortest first
    std::vector<std::int64_t> ids;       ///< (texts, width) 0 where a text has ended
    std::vector<std::uint8_t> is_token;  ///< (texts, width) 1 up to there, 0 from there on
    std::size_t width = 0;
};

/// Cuts a batch into runs, shortest texts first, so that no run holds more than `most_ids` ids with its padding, but
/// at least one text. Text i has ids[offsets[i] .. offsets[i + 1]).
/// Throws std::invalid_argument for offsets that fall or leave the ids.
[[nodiscard]] std::vector<PaddedRun> padded_runs(std::span<const std::int64_t> ids,
                                                 std::span<const std::int64_t> offsets, std::size_t most_ids);

}  // namespace guidealign
