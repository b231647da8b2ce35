#include "guidealign/dedupe.hpp"

#include <algorithm>
#include <array>

#include "kernels/lcs.hpp"

namespace guidealign {
namespace {

constexpr std::size_t word_bits = 64;
using kernels::lcs_lanes;

std::size_t words_of(std::size_t length) {
    return (length + word_bits - 1) / word_bits;
}

template <class Symbol>
void set_masks(std::span<const Symbol> text, std::size_t words, std::size_t lane, std::vector<std::uint64_t>& masks) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        masks[(text[i] * words + i / word_bits) * lcs_lanes + lane] |= std::uint64_t{1} << (i % word_bits);
    }
}

std::array<std::size_t, lcs_lanes> common_lengths(const std::vector<std::uint64_t>& masks, std::size_t words,
                                                  std::span<const std::uint8_t> text,
                                                  std::vector<std::uint64_t>& state) {
    std::array<std::size_t, lcs_lanes> lengths;
    state.resize(words * lcs_lanes);
    kernels::active_lcs().bytes(masks.data(), words, text, state.data(), lengths.data());
    return lengths;
}

std::array<std::size_t, lcs_lanes> common_lengths(const std::vector<std::uint64_t>& masks, std::size_t words,
                                                  std::span<const std::uint16_t> text,
                                                  std::vector<std::uint64_t>& state) {
    std::array<std::size_t, lcs_lanes> lengths;
    state.resize(words * lcs_lanes);
    kernels::active_lcs().wide(masks.data(), words, text, state.data(), lengths.data());
    return lengths;
}

bool reaches(std::size_t common, std::size_t total_length, double ratio) {
    return 2.0 * static_cast<double>(common) >= ratio * static_cast<double>(total_length);
}

}  // namespace

template <class Symbol>
DuplicateFilter<Symbol>::DuplicateFilter(double ratio, std::size_t alphabet_size)
    : ratio_(ratio), alphabet_size_(alphabet_size) {}

template <class Symbol>
void DuplicateFilter<Symbol>::clear() {
    for (Group& group : groups_) group.texts.clear();
    kept_ = 0;
}

template <class Symbol>
void DuplicateFilter<Symbol>::keep(std::span<const Symbol> text) {
    const std::size_t place = kept_++;
    if (place / lcs_lanes == groups_.size()) groups_.emplace_back();
    Group& group = groups_[place / lcs_lanes];
    const bool is_first = group.texts.empty();
    group.texts.push_back(text);
    const std::size_t words = std::max<std::size_t>(1, words_of(text.size()));
    if (!is_first && words <= group.words) {
        add_masks(group, group.texts.size() - 1);
        return;
    }
    // The first text of a group, or one longer than the group has room for: lay the group out again.
    group.words = is_first ? words : std::max(words, group.words);
    group.masks.assign(alphabet_size_ * group.words * lcs_lanes, 0);
    for (std::size_t lane = 0; lane < group.texts.size(); ++lane) add_masks(group, lane);
}

template <class Symbol>
void DuplicateFilter<Symbol>::add_masks(Group& group, std::size_t lane) const {
    set_masks(group.texts[lane], group.words, lane, group.masks);
}

template <class Symbol>
bool DuplicateFilter<Symbol>::is_duplicate(std::span<const Symbol> text) {
    return std::any_of(groups_.begin(), groups_.end(),
                       [&](const Group& group) { return !group.texts.empty() && is_duplicate_in(group, text); });
}

template <class Symbol>
bool DuplicateFilter<Symbol>::is_duplicate_in(const Group& group, std::span<const Symbol> text) {
    // The LCS is at most the shorter text: often enough to tell without computing it.
    const bool is_possible = std::any_of(group.texts.begin(), group.texts.end(), [&](std::span<const Symbol> kept) {
        return reaches(std::min(kept.size(), text.size()), kept.size() + text.size(), ratio_);
    });
    if (!is_possible) return false;
    const auto lengths = common_lengths(group.masks, group.words, text, state_);
    for (std::size_t lane = 0; lane < group.texts.size(); ++lane) {
        if (reaches(lengths[lane], group.texts[lane].size() + text.size(), ratio_)) return true;
    }
    return false;
}

template <class Symbol>
double indel_ratio(std::span<const Symbol> left, std::span<const Symbol> right, std::size_t alphabet_size) {
    if (left.empty() && right.empty()) return 1.0;
    const std::size_t words = std::max<std::size_t>(1, words_of(left.size()));
    std::vector<std::uint64_t> masks(alphabet_size * words * lcs_lanes, 0);
    set_masks(left, words, 0, masks);
    std::vector<std::uint64_t> state;
    const std::size_t common = common_lengths(masks, words, right, state)[0];
    return 2.0 * static_cast<double>(common) / static_cast<double>(left.size() + right.size());
}

template class DuplicateFilter<std::uint8_t>;
template class DuplicateFilter<std::uint16_t>;
template double indel_ratio(std::span<const std::uint8_t>, std::span<const std::uint8_t>, std::size_t);
template double indel_ratio(std::span<const std::uint16_t>, std::span<const std::uint16_t>, std::size_t);

}  // namespace guidealign
