#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "guidealign/views.hpp"

namespace guidealign {

struct WindowInputs {
    std::span<const std::int64_t> ids;            ///< (tokens) of all windows, end to end
    std::span<const std::int64_t> token_offsets;  ///< (windows + 1)
    std::span<const std::int64_t> offsets;        ///< (prompts + 1) prompt i has windows offsets[i] .. offsets[i + 1]
    std::span<const float> salience;              ///< (vocabulary) how much a token speaks for a request; or empty
};

struct WindowOptions {
    std::size_t most = 4;    ///< windows that are searched for, a prompt
    float end_bonus = 6.0F;  ///< for the first and the last window: requests stand at either end
    float cost = 0.05F;      ///< what a window's scores lose for each point that it is less likely the request
};

struct ChosenWindows {
    std::vector<std::int64_t> windows;  ///< which ones, in the order of the text
    std::vector<std::int64_t> offsets;  ///< (prompts + 1)
    std::vector<float> penalties;       ///< (windows chosen) 0 for the likeliest of each prompt
};

/// Chooses, of a long prompt cut into windows, the few that are likely the request. A window's points are the sum of
/// its tokens' salience over the square root of their number, and the bonus for standing at an end. Equal points put
/// the earlier window first; windows without tokens come last.
///
/// Throws std::invalid_argument for offsets that fall or leave what they point into, a prompt without a window, ids
/// outside `salience`, and most = 0.
[[nodiscard]] ChosenWindows choose_windows(const WindowInputs& in, const WindowOptions& options);

struct RankedWindows {
    MatrixView<const std::int32_t> guidelines;  ///< (windows, pool) from rerank, best first
    MatrixView<const float> scores;             ///< (windows, pool)
    MatrixView<const std::int64_t> matched;     ///< (windows, pool)
    std::span<const std::int32_t> counts;       ///< (windows)
    std::span<const std::int64_t> offsets;      ///< (prompts + 1)
    std::span<const float> penalties;           ///< (windows)
};

struct FoldedWindows {
    MatrixView<std::int32_t> guidelines;  ///< (prompts, pool), rows end in -1 after counts[row]
    MatrixView<float> scores;             ///< (prompts, pool)
    MatrixView<std::int64_t> matched;     ///< (prompts, pool)
    std::span<std::int32_t> counts;       ///< (prompts)
};

/// One row a prompt of the rows of its windows: each guideline with its best score less the window's penalty, the
/// `pool` best of them. Equal scores put the lower guideline first, and take `matched` from the earlier window.
/// Throws std::invalid_argument for shapes that do not fit.
void fold_windows(const RankedWindows& in, const FoldedWindows& out);

}  // namespace guidealign
