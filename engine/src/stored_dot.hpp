#pragma once

#include "guidealign/vectors.hpp"
#include "kernels/dot.hpp"

namespace guidealign {

/// Exact scores of queries against stored vectors. Made once a batch, so that kernel and storage are chosen once.
class StoredDot {
  public:
    explicit StoredDot(const StoredVectors& vectors)
        : kernels_(kernels::active_dot()),
          half_(std::get_if<HalfVectors>(&vectors)),
          int8_(std::get_if<Int8Vectors>(&vectors)) {}

    [[nodiscard]] float operator()(const float* query, std::size_t row) const {
        if (half_ != nullptr) return kernels_.half(query, half_->rows.row(row).data(), half_->rows.columns);
        return int8_->scales[row] * kernels_.int8(query, int8_->rows.row(row).data(), int8_->rows.columns);
    }

    /// Asks for rows [first, last) of the table, which will be needed soon. They lie side by side.
    void prefetch(std::size_t first, std::size_t last) const {
        constexpr std::size_t cache_line = 64;
        const std::size_t row_bytes =
            half_ != nullptr ? half_->rows.columns * sizeof(Half) : int8_->rows.columns * sizeof(std::int8_t);
        const char* begin = half_ != nullptr ? reinterpret_cast<const char*>(half_->rows.data)
                                             : reinterpret_cast<const char*>(int8_->rows.data);
        for (std::size_t byte = first * row_bytes; byte < last * row_bytes; byte += cache_line) {
            __builtin_prefetch(begin + byte);
        }
    }

  private:
    kernels::DotKernels kernels_;
    const HalfVectors* half_;
    const Int8Vectors* int8_;
};

}  // namespace guidealign
