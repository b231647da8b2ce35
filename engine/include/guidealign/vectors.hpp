#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "guidealign/views.hpp"

namespace guidealign {

/// IEEE 754 binary16, kept as its bits.
enum class Half : std::uint16_t {};

/// Unit vectors in float16, one a row.
struct HalfVectors {
    MatrixView<const Half> rows;
};

/// Unit vectors in int8: element (i, j) is rows(i, j) * scales[i].
struct Int8Vectors {
    MatrixView<const std::int8_t> rows;
    std::span<const float> scales;
};

using StoredVectors = std::variant<HalfVectors, Int8Vectors>;

[[nodiscard]] inline std::size_t row_count(const StoredVectors& vectors) {
    return std::visit([](const auto& stored) { return stored.rows.rows; }, vectors);
}
[[nodiscard]] inline std::size_t dimension(const StoredVectors& vectors) {
    return std::visit([](const auto& stored) { return stored.rows.columns; }, vectors);
}

}  // namespace guidealign
