#include "guidealign/windows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "offsets.hpp"

namespace guidealign {
namespace {

struct Scored {
    std::int32_t guideline;
    float score;
    std::int64_t matched;
};

float salience_of(std::span<const std::int64_t> tokens, std::span<const float> salience) {
    if (tokens.empty()) return -std::numeric_limits<float>::infinity();
    if (salience.empty()) return 0.0F;
    float sum = 0.0F;
    for (const std::int64_t token : tokens) {
        if (token < 0 || static_cast<std::size_t>(token) >= salience.size()) {
            throw std::invalid_argument("token " + std::to_string(token) + " is outside the " +
                                        std::to_string(salience.size()) + " that have a salience");
        }
        sum += salience[static_cast<std::size_t>(token)];
    }
    return sum / std::sqrt(static_cast<float>(tokens.size()));
}

/// The windows of one prompt with the most points, in the order of the text.
void choose(std::span<const float> points, std::int64_t first, const WindowOptions& options, ChosenWindows& chosen) {
    std::vector<std::size_t> order(points.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t left, std::size_t right) { return points[left] > points[right]; });
    const float best = points[order.front()];
    order.resize(std::min(order.size(), options.most));
    std::sort(order.begin(), order.end());
    for (const std::size_t window : order) {
        // The difference of two windows without tokens is no number.
        const float behind = points[window] == best ? 0.0F : best - points[window];
        if (!std::isfinite(behind)) continue;
        chosen.windows.push_back(first + static_cast<std::int64_t>(window));
        chosen.penalties.push_back(options.cost * behind);
    }
}

void fold(const RankedWindows& in, std::size_t begin, std::size_t end, std::vector<Scored>& found) {
    found.clear();
    for (std::size_t window = begin; window < end; ++window) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(in.counts[window]); ++i) {
            found.push_back({in.guidelines.row(window)[i], in.scores.row(window)[i] - in.penalties[window],
                             in.matched.row(window)[i]});
        }
    }
    const auto better = [](const Scored& left, const Scored& right) {
        return left.score != right.score ? left.score > right.score : left.guideline < right.guideline;
    };
    // The earlier window's comes first among equals, and the first one of a guideline is kept.
    std::stable_sort(found.begin(), found.end(), [&](const Scored& left, const Scored& right) {
        return left.guideline != right.guideline ? left.guideline < right.guideline : left.score > right.score;
    });
    const auto same = [](const Scored& left, const Scored& right) { return left.guideline == right.guideline; };
    found.erase(std::unique(found.begin(), found.end(), same), found.end());
    std::sort(found.begin(), found.end(), better);
}

void check(const RankedWindows& in, const FoldedWindows& out) {
    const auto require = [](bool holds, const char* rule) {
        if (!holds) throw std::invalid_argument(rule);
    };
    const std::size_t windows = in.guidelines.rows;
    const std::size_t pool = in.guidelines.columns;
    require(in.scores.rows == windows && in.scores.columns == pool && in.matched.rows == windows &&
                in.matched.columns == pool && in.counts.size() == windows && in.penalties.size() == windows,
            "guidelines, scores, matched, counts and penalties must have the same rows");
    check_offsets(in.offsets, windows, "windows");
    const std::size_t prompts = in.offsets.size() - 1;
    const auto has_shape = [&](const auto& matrix) { return matrix.rows == prompts && matrix.columns == pool; };
    require(
        has_shape(out.guidelines) && has_shape(out.scores) && has_shape(out.matched) && out.counts.size() == prompts,
        "outputs must have one row for each prompt and as many columns as the windows");
    require(std::all_of(in.counts.begin(), in.counts.end(),
                        [&](std::int32_t count) { return count >= 0 && static_cast<std::size_t>(count) <= pool; }),
            "counts must lie between 0 and the number of columns");
}

}  // namespace

ChosenWindows choose_windows(const WindowInputs& in, const WindowOptions& options) {
    check_offsets(in.token_offsets, in.ids.size(), "ids");
    const RaggedView<std::int64_t> tokens{in.ids, in.token_offsets};
    check_offsets(in.offsets, tokens.size(), "windows");
    if (options.most == 0) throw std::invalid_argument("at least one window must be chosen");

    ChosenWindows chosen;
    chosen.offsets.push_back(0);
    std::vector<float> points;
    for (std::size_t prompt = 0; prompt + 1 < in.offsets.size(); ++prompt) {
        const auto begin = static_cast<std::size_t>(in.offsets[prompt]);
        const auto end = static_cast<std::size_t>(in.offsets[prompt + 1]);
        if (begin == end) throw std::invalid_argument("prompt " + std::to_string(prompt) + " has no window");
        points.clear();
        for (std::size_t window = begin; window < end; ++window) {
            points.push_back(salience_of(tokens[window], in.salience));
        }
        points.front() += options.end_bonus;
        if (points.size() > 1) points.back() += options.end_bonus;
        choose(points, in.offsets[prompt], options, chosen);
        chosen.offsets.push_back(static_cast<std::int64_t>(chosen.windows.size()));
    }
    return chosen;
}

void fold_windows(const RankedWindows& in, const FoldedWindows& out) {
    check(in, out);
    std::vector<Scored> found;
    for (std::size_t prompt = 0; prompt + 1 < in.offsets.size(); ++prompt) {
        fold(in, static_cast<std::size_t>(in.offsets[prompt]), static_cast<std::size_t>(in.offsets[prompt + 1]), found);
        found.resize(std::min(found.size(), in.guidelines.columns));
        const auto guidelines = out.guidelines.row(prompt);
        const auto scores = out.scores.row(prompt);
        const auto matched = out.matched.row(prompt);
        std::fill(guidelines.begin(), guidelines.end(), -1);
        std::fill(scores.begin(), scores.end(), 0.0F);
        std::fill(matched.begin(), matched.end(), -1);
        for (std::size_t i = 0; i < found.size(); ++i) {
            guidelines[i] = found[i].guideline;
            scores[i] = found[i].score;
            matched[i] = found[i].matched;
        }
        out.counts[prompt] = static_cast<std::int32_t>(found.size());
    }
}

}  // namespace guidealign
