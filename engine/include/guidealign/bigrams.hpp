#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "guidealign/token_rows.hpp"
#include "guidealign/views.hpp"

namespace guidealign {

/// Pairs of neighbouring tokens that the encoder knows as one: "kill", "a", "process" alone do not say what "kill a"
/// and "a process" do. An encoder that adds up its tokens' vectors learns word order by them.
class Bigrams {
  public:
    /// pairs: (bigrams, 2) token ids; bigram i has id first_id + i.
    /// Throws std::invalid_argument for another width, negative ids, ids from first_id on, and a pair that comes twice.
    Bigrams(MatrixView<const std::int32_t> pairs, std::int64_t first_id);

    /// Every row with its bigrams behind its tokens, in the order of the text; ids from first_id on pair with nothing.
    /// Throws std::invalid_argument for offsets that fall or leave the ids. Calls may overlap.
    [[nodiscard]] TokenRows append(std::span<const std::int64_t> ids, std::span<const std::int64_t> offsets) const;

  private:
    struct Slot {
        std::uint64_t pair = empty;
        std::int64_t id = 0;
    };
    static constexpr std::uint64_t empty = ~std::uint64_t{0};

    [[nodiscard]] std::size_t place_of(std::uint64_t pair) const;

    std::vector<Slot> slots_;
    std::int64_t first_id_;
};

}  // namespace guidealign
