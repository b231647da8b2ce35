#include "guidealign/padding.hpp"

#include <algorithm>
#include <numeric>

#include "guidealign/views.hpp"
#include "offsets.hpp"

namespace guidealign {
namespace {

PaddedRun padded(std::span<const std::int64_t> texts, std::size_t width, const RaggedView<std::int64_t>& rows) {
    PaddedRun run{.texts = {texts.begin(), texts.end()}, .ids = {}, .is_token = {}, .width = width};
    run.ids.resize(texts.size() * width);
    run.is_token.resize(texts.size() * width);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto row = rows[static_cast<std::size_t>(texts[i])];
        const auto begin = static_cast<std::ptrdiff_t>(i * width);
        std::copy(row.begin(), row.end(), run.ids.begin() + begin);
        std::fill_n(run.is_token.begin() + begin, row.size(), std::uint8_t{1});
    }
    return run;
}

}  // namespace

std::vector<PaddedRun> padded_runs(std::span<const std::int64_t> ids, std::span<const std::int64_t> offsets,
                                   std::size_t most_ids) {
    check_offsets(offsets, ids.size(), "ids");
    const RaggedView<std::int64_t> rows{ids, offsets};
    const auto width = [&](std::int64_t text) { return rows[static_cast<std::size_t>(text)].size(); };
    std::vector<std::int64_t> by_length(rows.size());
    std::iota(by_length.begin(), by_length.end(), std::int64_t{0});
    std::stable_sort(by_length.begin(), by_length.end(),
                     [&](std::int64_t left, std::int64_t right) { return width(left) < width(right); });

    std::vector<PaddedRun> runs;
    const std::span<const std::int64_t> texts(by_length);
    for (std::size_t begin = 0, end = 1; end <= texts.size(); ++end) {
        const bool next_fits = end < texts.size() && (end + 1 - begin) * width(texts[end]) <= most_ids;
        if (next_fits) continue;
        runs.push_back(padded(texts.subspan(begin, end - begin), width(texts[end - 1]), rows));
        begin = end;
    }
    return runs;
}

}  // namespace guidealign
