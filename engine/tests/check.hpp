#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "guidealign/kernels.hpp"

/// The few lines of a test framework that these tests need.
namespace guidealign::testing {

inline void expect(bool holds, std::string_view what, std::source_location place = std::source_location::current()) {
    if (holds) return;
    std::fprintf(stderr, "%s:%u: %.*s\n", place.file_name(), place.line(), static_cast<int>(what.size()), what.data());
    std::exit(1);
}

inline void expect_error(const std::function<void()>& call, std::string_view message,
                         std::source_location place = std::source_location::current()) {
    try {
        call();
    } catch (const std::invalid_argument& error) {
        expect(std::string_view(error.what()).find(message) != std::string_view::npos, error.what(), place);
        return;
    }
    expect(false, "no error; expected: " + std::string(message), place);
}

/// Runs the body with every kernel of this processor, and leaves the one that was in use.
inline void with_each_kernel(const std::function<void()>& body) {
    const std::string before(active_kernel());
    for (const std::string_view name : available_kernels()) {
        use_kernel(name);
        body();
    }
    use_kernel(before);
}

}  // namespace guidealign::testing
