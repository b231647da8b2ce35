#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace guidealign {

/// Throws std::invalid_argument unless offsets cut `size` things, called `what`, into rows.
inline void check_offsets(std::span<const std::int64_t> offsets, std::size_t size, const char* what) {
    if (offsets.empty()) throw std::invalid_argument("offsets must have one entry more than there are rows");
    if (offsets.front() < 0 || !std::is_sorted(offsets.begin(), offsets.end()) ||
        static_cast<std::size_t>(offsets.back()) > size) {
        throw std::invalid_argument(std::string("offsets must rise from 0 or more to at most the number of ") + what);
    }
}

}  // namespace guidealign
