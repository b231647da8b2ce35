#include <string>

#include "check.hpp"
#include "guidealign/prompt.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

void blocks_are_in_library_order() {
    const std::string entries = "AlphaBetaGamma";
    const std::vector<std::int64_t> offsets = {0, 5, 9, 14};
    const std::string opening = "<g>\n";
    const std::string bullet = "- ";
    const std::string separator = "\n";
    const std::string closing = "</g>";
    const BlockParts<char> parts = {opening, bullet, {entries, offsets}, separator, closing};
    const std::vector<std::int32_t> guidelines = {2, 0, -1, -1, 1, 0};
    const std::vector<std::int32_t> counts = {2, 0, 1};
    const Blocks<char> blocks = assemble_blocks({guidelines.data(), 3, 2}, counts, parts);
    const std::string text(blocks.values.begin(), blocks.values.end());
    expect(text == "<g>\n- Alpha\n- Gamma\n</g><g>\n- Beta\n</g>", text);
    expect(blocks.offsets == std::vector<std::int64_t>({0, 24, 24, 39}), "an empty row has an empty block");
    const std::vector<std::int32_t> unknown = {3, 0};
    const std::vector<std::int32_t> one = {1};
    expect_error([&] { (void)assemble_blocks({unknown.data(), 1, 2}, one, parts); }, "outside the library of 3");
    const std::vector<std::int32_t> too_many = {5};
    expect_error([&] { (void)assemble_blocks({unknown.data(), 1, 2}, too_many, parts); }, "counts must lie");
}

template <class Unit>
std::size_t find(const std::string& text, const std::vector<std::string_view>& markers) {
    const std::vector<Unit> units(text.begin(), text.end());
    return find_marker(std::span<const Unit>(units), std::span<const std::string_view>(markers));
}

template <class Unit>
void finds_the_first_marker_in_either_case() {
    const std::vector<std::string_view> markers = {"<guidelines>", "</guidelines>"};
    expect(find<Unit>("", markers) == no_marker, "empty");
    expect(find<Unit>("a < b, guidelines>", markers) == no_marker, "parts are no marker");
    expect(find<Unit>("<guidelines", markers) == no_marker, "cut short");
    expect(find<Unit>("x</GuideLines> <guidelines>", markers) == 1, "either case, first place");
    for (const std::size_t place : {0U, 200U, 250U, 255U, 256U, 257U, 511U, 1000U}) {
        const std::string text = std::string(place, '<') + "<guidelines>" + std::string(40, 'z');
        expect(find<Unit>(text, markers) == place, "at " + std::to_string(place));
    }
}

}  // namespace

int main() {
    blocks_are_in_library_order();
    finds_the_first_marker_in_either_case<std::uint8_t>();
    finds_the_first_marker_in_either_case<char16_t>();
    finds_the_first_marker_in_either_case<char32_t>();
}
