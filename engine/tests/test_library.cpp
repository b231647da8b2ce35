#include "check.hpp"
#include "library_of.hpp"

using namespace guidealign;
using namespace guidealign::testing;

int main() {
    const ToyLibrary toy(2, {{"one", {{1, 0}, {0, 1}}}, {"two", {{0, 1}}}});
    check(toy.view());

    Library library = toy.view();
    const std::vector<std::int64_t> falling = {0, 3, 3};
    library.vector_offsets = falling;
    expect_error([&] { check(library); }, "at least one vector");

    library = toy.view();
    const std::vector<std::int32_t> swapped = {0, 1, 0};
    library.owners = swapped;
    expect_error([&] { check(library); }, "disagree about guideline 0");

    library = toy.view();
    const std::vector<std::uint8_t> unknown = {0, 2};
    library.kinds = unknown;
    expect_error([&] { check(library); }, "kinds must be below 2");

    library = toy.view();
    library.alphabet_size = 100;
    expect_error([&] { check(library); }, "below alphabet_size");

    library = toy.view();
    const std::vector<float> priority = {0.0F};
    library.priority = priority;
    expect_error([&] { check(library); }, "priority and kinds");
}
