#include "guidealign/prompt.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace guidealign {
namespace {

template <class Unit>
void append(std::vector<Unit>& values, std::span<const Unit> part) {
    values.insert(values.end(), part.begin(), part.end());
}

template <class Unit>
void append_block(std::span<const std::int32_t> library_order, const BlockParts<Unit>& parts,
                  std::vector<Unit>& values) {
    append(values, parts.opening);
    for (const std::int32_t guideline : library_order) {
        append(values, parts.bullet);
        append(values, parts.entries[static_cast<std::size_t>(guideline)]);
        append(values, parts.separator);
    }
    append(values, parts.closing);
}

constexpr char32_t lower(char32_t unit) {
    return unit >= U'A' && unit <= U'Z' ? unit + (U'a' - U'A') : unit;
}
constexpr char32_t upper(char32_t unit) {
    return unit >= U'a' && unit <= U'z' ? unit - (U'a' - U'A') : unit;
}

template <class Unit>
bool starts_with(std::span<const Unit> text, std::string_view marker) {
    if (text.size() < marker.size()) return false;
    for (std::size_t i = 0; i < marker.size(); ++i) {
        if (lower(text[i]) != lower(static_cast<unsigned char>(marker[i]))) return false;
    }
    return true;
}

}  // namespace

template <class Unit>
Blocks<Unit> assemble_blocks(MatrixView<const std::int32_t> guidelines, std::span<const std::int32_t> counts,
                             const BlockParts<Unit>& parts) {
    if (counts.size() != guidelines.rows) throw std::invalid_argument("counts must have one entry for each row");
    Blocks<Unit> blocks;
    blocks.offsets.push_back(0);
    std::vector<std::int32_t> library_order;
    for (std::size_t row = 0; row < guidelines.rows; ++row) {
        if (counts[row] < 0 || static_cast<std::size_t>(counts[row]) > guidelines.columns) {
            throw std::invalid_argument("counts must lie between 0 and the number of columns");
        }
        const auto selected = guidelines.row(row).first(static_cast<std::size_t>(counts[row]));
        library_order.assign(selected.begin(), selected.end());
        std::sort(library_order.begin(), library_order.end());
        if (!library_order.empty() &&
            (library_order.front() < 0 || static_cast<std::size_t>(library_order.back()) >= parts.entries.size())) {
            throw std::invalid_argument("row " + std::to_string(row) + " selects a guideline outside the library of " +
                                        std::to_string(parts.entries.size()));
        }
        if (!library_order.empty()) append_block(library_order, parts, blocks.values);
        blocks.offsets.push_back(static_cast<std::int64_t>(blocks.values.size()));
    }
    return blocks;
}

/// Looks at blocks of units for the markers' first two letters without a branch inside, which compilers turn into
/// vector code: 10 MB of text that holds none of them take about a millisecond.
template <class Unit>
std::size_t find_marker(std::span<const Unit> text, std::span<const std::string_view> markers) {
    constexpr std::size_t block_size = 256;
    const auto may_start = [&](std::span<const Unit> block) {
        bool found = false;
        for (const std::string_view marker : markers) {
            const auto small = static_cast<Unit>(lower(static_cast<unsigned char>(marker.front())));
            const auto capital = static_cast<Unit>(upper(small));
            if (marker.size() < 2) return true;
            const auto small_next = static_cast<Unit>(lower(static_cast<unsigned char>(marker[1])));
            const auto capital_next = static_cast<Unit>(upper(small_next));
            unsigned hits = 0;
            for (std::size_t i = 0; i + 1 < block.size(); ++i) {
                const unsigned first =
                    static_cast<unsigned>(block[i] == small) | static_cast<unsigned>(block[i] == capital);
                const unsigned next = static_cast<unsigned>(block[i + 1] == small_next) |
                                      static_cast<unsigned>(block[i + 1] == capital_next);
                hits |= first & next;
            }
            found = found || hits != 0;
        }
        return found;
    };
    for (std::size_t begin = 0; begin < text.size(); begin += block_size) {
        const std::size_t end = std::min(begin + block_size, text.size());
        if (!may_start(text.subspan(begin, std::min(end + 1, text.size()) - begin))) continue;
        for (std::size_t i = begin; i < end; ++i) {
            for (const std::string_view marker : markers) {
                if (starts_with(text.subspan(i), marker)) return i;
            }
        }
    }
    return no_marker;
}

template Blocks<char> assemble_blocks(MatrixView<const std::int32_t>, std::span<const std::int32_t>,
                                      const BlockParts<char>&);
template Blocks<std::int32_t> assemble_blocks(MatrixView<const std::int32_t>, std::span<const std::int32_t>,
                                              const BlockParts<std::int32_t>&);
template std::size_t find_marker(std::span<const std::uint8_t>, std::span<const std::string_view>);
template std::size_t find_marker(std::span<const char16_t>, std::span<const std::string_view>);
template std::size_t find_marker(std::span<const char32_t>, std::span<const std::string_view>);

}  // namespace guidealign
