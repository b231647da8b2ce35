#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace guidealign {

/// Finds near-duplicates among texts that are taken in one by one.
///
/// Two texts are near-duplicates when their Indel ratio, 2 * LCS / (length + length), is at least `ratio`, LCS being
/// the length of the longest common subsequence. Two empty texts have ratio 1. The LCS is the bit-parallel one of
/// Hyyrö (Bit-parallel LCS-length computation revisited, 2004): exact, 64 symbols a step; kept texts are compared
/// four at a time.
/// `Symbol` is std::uint8_t or std::uint16_t; every symbol is below `alphabet_size`.
template <class Symbol>
class DuplicateFilter {
  public:
    DuplicateFilter(double ratio, std::size_t alphabet_size);

    /// Forgets what was kept, and keeps the memory.
    void clear();
    [[nodiscard]] bool is_duplicate(std::span<const Symbol> text);
    /// `text` must stay where it is until it is forgotten.
    void keep(std::span<const Symbol> text);

  private:
    /// Up to four kept texts side by side, as kernels/lcs.hpp lays them out.
    struct Group {
        std::vector<std::span<const Symbol>> texts;
        std::vector<std::uint64_t> masks;
        std::size_t words = 0;
    };

    void add_masks(Group& group, std::size_t lane) const;
    [[nodiscard]] bool is_duplicate_in(const Group& group, std::span<const Symbol> text);

    double ratio_;
    std::size_t alphabet_size_;
    std::vector<Group> groups_;
    std::size_t kept_ = 0;
    std::vector<std::uint64_t> state_;
};

/// Indel ratio of two texts, in [0, 1].
template <class Symbol>
[[nodiscard]] double indel_ratio(std::span<const Symbol> left, std::span<const Symbol> right,
                                 std::size_t alphabet_size);

}  // namespace guidealign
