#include <algorithm>
#include <random>
#include <string>

#include "check.hpp"
#include "guidealign/dedupe.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

template <class Symbol>
using Text = std::vector<Symbol>;

/// The textbook table, one cell at a time.
template <class Symbol>
double slow_ratio(const Text<Symbol>& left, const Text<Symbol>& right) {
    if (left.empty() && right.empty()) return 1.0;
    std::vector<std::vector<std::size_t>> table(left.size() + 1, std::vector<std::size_t>(right.size() + 1, 0));
    for (std::size_t i = 0; i < left.size(); ++i) {
        for (std::size_t j = 0; j < right.size(); ++j) {
            table[i + 1][j + 1] = left[i] == right[j] ? table[i][j] + 1 : std::max(table[i][j + 1], table[i + 1][j]);
        }
    }
    return 2.0 * static_cast<double>(table.back().back()) / static_cast<double>(left.size() + right.size());
}

template <class Symbol>
double fast_ratio(const Text<Symbol>& left, const Text<Symbol>& right, std::size_t alphabet) {
    return indel_ratio(std::span<const Symbol>(left), std::span<const Symbol>(right), alphabet);
}

Text<std::uint8_t> bytes(const std::string& text) {
    return {text.begin(), text.end()};
}

template <class Symbol>
Text<Symbol> random_text(std::mt19937& random, std::size_t length, unsigned alphabet) {
    Text<Symbol> text(length);
    for (Symbol& symbol : text) symbol = static_cast<Symbol>(random() % alphabet);
    return text;
}

void hand_worked_cases() {
    expect(fast_ratio(bytes(""), bytes(""), 128) == 1.0, "two empty texts are one");
    expect(fast_ratio(bytes("a"), bytes(""), 128) == 0.0, "nothing is common with nothing");
    expect(fast_ratio(bytes("abc"), bytes("abc"), 128) == 1.0, "a text equals itself");
    expect(fast_ratio(bytes("abcd"), bytes("acbd"), 128) == 0.75, "abd or acd is common: 2 * 3 / 8");
    expect(fast_ratio(bytes("lewenstein"), bytes("levenshtein"), 128) == 2.0 * 9 / 21, "9 letters are common");
}

template <class Symbol>
void bit_parallel_agrees_with_the_table(unsigned alphabet) {
    std::mt19937 random(7);
    for (const std::size_t length : {1U, 2U, 63U, 64U, 65U, 127U, 128U, 129U, 200U, 320U, 384U, 385U, 700U}) {
        const auto left = random_text<Symbol>(random, length, alphabet);
        const auto right = random_text<Symbol>(random, 1 + random() % 400, alphabet);
        expect(fast_ratio(left, right, alphabet) == slow_ratio(left, right), "length " + std::to_string(length));
        expect(fast_ratio(right, left, alphabet) == slow_ratio(left, right), "swapped " + std::to_string(length));
    }
}

/// Lengths differ a lot, so groups of four are laid out again when a longer text arrives.
void filter_agrees_with_the_table() {
    std::mt19937 random(11);
    for (int round = 0; round < 20; ++round) {
        DuplicateFilter<std::uint8_t> filter(0.5, 8);
        for (int reuse = 0; reuse < 2; ++reuse) {
            filter.clear();
            std::vector<Text<std::uint8_t>> kept;
            kept.reserve(16);
            for (int i = 0; i < 16; ++i) {
                const auto text = random_text<std::uint8_t>(random, random() % 300, 8);
                const bool expected = std::any_of(kept.begin(), kept.end(),
                                                  [&](const auto& other) { return slow_ratio(text, other) >= 0.5; });
                expect(filter.is_duplicate(text) == expected, "round " + std::to_string(round));
                if (i % 3 == 0) {
                    kept.push_back(text);
                    filter.keep(kept.back());
                }
            }
        }
    }
}

}  // namespace

int main() {
    with_each_kernel([] {
        hand_worked_cases();
        bit_parallel_agrees_with_the_table<std::uint8_t>(4);
        bit_parallel_agrees_with_the_table<std::uint8_t>(26);
        bit_parallel_agrees_with_the_table<std::uint16_t>(700);
        filter_agrees_with_the_table();
    });
}
