#include "guidealign/library.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace guidealign {
namespace {

void require(bool holds, const std::string& rule) {
    if (!holds) throw std::invalid_argument(rule);
}

/// True when the offsets start at 0, rise by at least `step` a row and end at `end`.
bool rises(std::span<const std::int64_t> offsets, std::int64_t step, std::size_t end) {
    if (offsets.empty() || offsets.front() != 0 || static_cast<std::size_t>(offsets.back()) != end) return false;
    return std::adjacent_find(offsets.begin(), offsets.end(), [=](std::int64_t left, std::int64_t right) {
               return right < left + step;
           }) == offsets.end();
}

}  // namespace

void check(const Library& library) {
    const std::size_t guidelines = library.size();
    const std::size_t vectors = row_count(library.vectors);
    require(library.priority.size() == guidelines, "priority and kinds must have one entry for each guideline");
    require(library.vector_offsets.size() == guidelines + 1, "vector_offsets must have one entry more than kinds");
    require(rises(library.vector_offsets, 1, vectors), "vector_offsets must give every guideline at least one vector");
    require(library.owners.size() == vectors, "owners must have one entry for each vector");
    for (std::size_t guideline = 0; guideline < guidelines; ++guideline) {
        const auto first = static_cast<std::size_t>(library.vector_offsets[guideline]);
        const auto last = static_cast<std::size_t>(library.vector_offsets[guideline + 1]);
        const auto own = library.owners.subspan(first, last - first);
        require(std::all_of(own.begin(), own.end(),
                            [=](std::int32_t owner) { return owner == static_cast<std::int32_t>(guideline); }),
                "owners and vector_offsets disagree about guideline " + std::to_string(guideline));
    }
    require(
        std::all_of(library.kinds.begin(), library.kinds.end(), [](std::uint8_t kind) { return kind < kind_count; }),
        "kinds must be below " + std::to_string(kind_count));
    std::visit(
        [&](const auto& symbols) {
            require(symbols.offsets.size() == guidelines + 1, "symbols must have one row for each guideline");
            require(rises(symbols.offsets, 0, symbols.values.size()), "symbol offsets must rise to the last symbol");
            require(std::all_of(symbols.values.begin(), symbols.values.end(),
                                [&](auto symbol) { return symbol < library.alphabet_size; }),
                    "every symbol must be below alphabet_size");
        },
        library.symbols);
}

}  // namespace guidealign
