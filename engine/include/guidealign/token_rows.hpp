#pragma once

#include <cstdint>
#include <vector>

namespace guidealign {

/// Tokens of many texts: text i has ids[offsets[i] .. offsets[i + 1]).
struct TokenRows {
    std::vector<std::int64_t> ids;
    std::vector<std::int64_t> offsets;
};

}  // namespace guidealign
