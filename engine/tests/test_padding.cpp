#include "check.hpp"
#include "guidealign/padding.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

using Ids = std::vector<std::int64_t>;
using Bytes = std::vector<std::uint8_t>;

// "7 8 9", nothing, "5", "6 4"
const Ids ids = {7, 8, 9, 5, 6, 4};
const Ids offsets = {0, 3, 3, 4, 6};

void one_run_where_all_fits() {
    const auto runs = padded_runs(ids, offsets, 12);
    expect(runs.size() == 1 && runs[0].width == 3, "as wide as the longest");
    expect(runs[0].texts == Ids({1, 2, 3, 0}), "shortest first");
    expect(runs[0].ids == Ids({0, 0, 0, 5, 0, 0, 6, 4, 0, 7, 8, 9}), "filled up with 0");
    expect(runs[0].is_token == Bytes({0, 0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1}), "what is no padding");
}

void cut_where_the_padded_size_would_pass_the_limit() {
    const auto runs = padded_runs(ids, offsets, 4);
    expect(runs.size() == 3, "nothing and 5 | 6 4 | 7 8 9");
    expect(runs[0].texts == Ids({1, 2}) && runs[0].width == 1, "a third text of width 2 would make it 6");
    expect(runs[1].ids == Ids({6, 4}) && runs[2].ids == Ids({7, 8, 9}), "each in its own width");
    expect(padded_runs(ids, offsets, 0).size() == 4, "a run has at least one text");
}

void equal_lengths_stay_in_order_and_need_no_padding() {
    const auto runs = padded_runs(Ids{1, 2, 3, 4}, Ids{0, 2, 4}, 100);
    expect(runs.size() == 1 && runs[0].texts == Ids({0, 1}) && runs[0].ids == Ids({1, 2, 3, 4}), "as they came");
}

void nothing_gives_nothing() {
    expect(padded_runs({}, Ids{0}, 8).empty(), "no texts");
    const auto runs = padded_runs({}, Ids{0, 0, 0}, 8);
    expect(runs.size() == 1 && runs[0].width == 0 && runs[0].texts.size() == 2, "texts without ids");
}

void bad_offsets_are_refused() {
    expect_error([] { (void)padded_runs(ids, {}, 8); }, "one entry more than there are rows");
    expect_error([] { (void)padded_runs(ids, Ids{0, 3, 2}, 8); }, "must rise");
    expect_error([] { (void)padded_runs(ids, Ids{0, 7}, 8); }, "at most the number of ids");
    expect_error([] { (void)padded_runs(ids, Ids{-1, 2}, 8); }, "from 0 or more");
}

}  // namespace

int main() {
    one_run_where_all_fits();
    cut_where_the_padded_size_would_pass_the_limit();
    equal_lengths_stay_in_order_and_need_no_padding();
    nothing_gives_nothing();
    bad_offsets_are_refused();
}
