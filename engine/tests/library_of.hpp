#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "guidealign/library.hpp"

namespace guidealign::testing {

/// The float16 nearest to a value; what is too small for a normal number becomes 0.
inline Half half(float value) {
    if (std::abs(value) < 0x1p-14F) return Half{0};
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16U) & 0x8000U;
    const std::uint32_t exponent = ((bits >> 23U) & 0xFFU) - 112U;
    const std::uint32_t mantissa = (bits & 0x7FFFFFU) + 0x1000U;
    return static_cast<Half>(sign + (exponent << 10U) + (mantissa >> 13U));
}

struct ToyGuideline {
    std::string text;
    std::vector<std::vector<float>> vectors;
    std::uint8_t kind = 0;
    float priority = 0.0F;
};

/// Owns the columns that a Library looks at.
class ToyLibrary {
  public:
    ToyLibrary(std::size_t dimension, const std::vector<ToyGuideline>& guidelines) {
        vector_offsets_.push_back(0);
        symbol_offsets_.push_back(0);
        for (std::size_t g = 0; g < guidelines.size(); ++g) {
            for (const auto& vector : guidelines[g].vectors) {
                for (const float value : vector) halves_.push_back(half(value));
                owners_.push_back(static_cast<std::int32_t>(g));
            }
            symbols_.insert(symbols_.end(), guidelines[g].text.begin(), guidelines[g].text.end());
            vector_offsets_.push_back(static_cast<std::int64_t>(owners_.size()));
            symbol_offsets_.push_back(static_cast<std::int64_t>(symbols_.size()));
            priority_.push_back(guidelines[g].priority);
            kinds_.push_back(guidelines[g].kind);
        }
        view_ = {
            .vectors = HalfVectors{{halves_.data(), owners_.size(), dimension}},
            .owners = owners_,
            .vector_offsets = vector_offsets_,
            .priority = priority_,
            .kinds = kinds_,
            .symbols = RaggedView<std::uint8_t>{symbols_, symbol_offsets_},
            .alphabet_size = 128,
        };
    }
    ToyLibrary(const ToyLibrary&) = delete;
    ToyLibrary& operator=(const ToyLibrary&) = delete;

    [[nodiscard]] const Library& view() const { return view_; }

  private:
    std::vector<Half> halves_;
    std::vector<std::int32_t> owners_;
    std::vector<std::int64_t> vector_offsets_;
    std::vector<float> priority_;
    std::vector<std::uint8_t> kinds_;
    std::vector<std::uint8_t> symbols_;
    std::vector<std::int64_t> symbol_offsets_;
    Library view_;
};

}  // namespace guidealign::testing
