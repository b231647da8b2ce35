#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace guidealign {

/// A row-major matrix that somebody else owns.
template <class T>
struct MatrixView {
    T* data = nullptr;
    std::size_t rows = 0;
    std::size_t columns = 0;

    [[nodiscard]] std::span<T> row(std::size_t index) const { return {data + index * columns, columns}; }
};

/// Rows of different length, stored end to end: row i is values[offsets[i] .. offsets[i + 1]).
template <class T>
struct RaggedView {
    std::span<const T> values;
    std::span<const std::int64_t> offsets;

    [[nodiscard]] std::size_t size() const { return offsets.empty() ? 0 : offsets.size() - 1; }
    [[nodiscard]] std::span<const T> operator[](std::size_t index) const {
        const auto begin = static_cast<std::size_t>(offsets[index]);
        const auto end = static_cast<std::size_t>(offsets[index + 1]);
        return values.subspan(begin, end - begin);
    }
};

}  // namespace guidealign
