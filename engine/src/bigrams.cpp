#include "guidealign/bigrams.hpp"

#include <bit>
#include <stdexcept>
#include <string>
#include <utility>

#include "offsets.hpp"

namespace guidealign {
namespace {

constexpr std::uint64_t pair_of(std::uint64_t left, std::uint64_t right) {
    return (left << 32U) | right;
}

/// Fibonacci hashing: the upper half of the product depends on all bits.
constexpr std::uint64_t hash_of(std::uint64_t pair) {
    return (pair * 0x9E3779B97F4A7C15U) >> 32U;
}

}  // namespace

Bigrams::Bigrams(MatrixView<const std::int32_t> pairs, std::int64_t first_id) : first_id_(first_id) {
    if (pairs.columns != 2) throw std::invalid_argument("bigrams must have two token ids each");
    // At most half full, so that a search ends after a step or two.
    slots_.resize(std::bit_ceil(2 * pairs.rows + 2));
    for (std::size_t row = 0; row < pairs.rows; ++row) {
        const auto [left, right] = std::pair(pairs.row(row)[0], pairs.row(row)[1]);
        if (left < 0 || right < 0 || left >= first_id || right >= first_id) {
            throw std::invalid_argument("bigram " + std::to_string(row) + " is of tokens " + std::to_string(left) +
                                        " and " + std::to_string(right) + "; they must lie between 0 and " +
                                        std::to_string(first_id - 1));
        }
        const std::uint64_t pair = pair_of(static_cast<std::uint64_t>(left), static_cast<std::uint64_t>(right));
        Slot& slot = slots_[place_of(pair)];
        if (slot.pair == pair) throw std::invalid_argument("bigram " + std::to_string(row) + " comes twice");
        slot = {pair, first_id + static_cast<std::int64_t>(row)};
    }
}

/// Where a pair lies, or would.
std::size_t Bigrams::place_of(std::uint64_t pair) const {
    std::size_t place = hash_of(pair) & (slots_.size() - 1);
    while (slots_[place].pair != pair && slots_[place].pair != empty) place = (place + 1) & (slots_.size() - 1);
    return place;
}

TokenRows Bigrams::append(std::span<const std::int64_t> ids, std::span<const std::int64_t> offsets) const {
    check_offsets(offsets, ids.size(), "ids");
    const RaggedView<std::int64_t> texts{ids, offsets};
    TokenRows rows;
    rows.ids.reserve(2 * ids.size());
    rows.offsets.reserve(offsets.size());
    rows.offsets.push_back(0);
    for (std::size_t text = 0; text < texts.size(); ++text) {
        const auto tokens = texts[text];
        rows.ids.insert(rows.ids.end(), tokens.begin(), tokens.end());
        for (std::size_t i = 1; i < tokens.size(); ++i) {
            if (tokens[i - 1] >= first_id_ || tokens[i] >= first_id_) continue;
            const auto pair = pair_of(static_cast<std::uint64_t>(tokens[i - 1]), static_cast<std::uint64_t>(tokens[i]));
            const Slot& slot = slots_[place_of(pair)];
            if (slot.pair == pair) rows.ids.push_back(slot.id);
        }
        rows.offsets.push_back(static_cast<std::int64_t>(rows.ids.size()));
    }
    return rows;
}

}  // namespace guidealign
