#include <cmath>
#include <limits>

#include "check.hpp"
#include "guidealign/select.hpp"
#include "library_of.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

const std::vector<ToyGuideline> four = {
    {"keep the dose and the unit apart", {{1, 0}}, 0},
    {"quote the line that fails", {{0, 1}}, 1},
    {"keep the dose and the units apart", {{1, 0}}, 0},
    {"zzz", {{0.5F, 0.5F}}, 0},
};

struct Row {
    std::vector<std::int32_t> guidelines;
    std::vector<float> scores;
    std::vector<std::uint8_t> allowed = {};
    std::vector<std::int32_t> token_costs = {};
};

std::vector<std::int32_t> select(const Row& row, const SelectOptions& options, float* risk = nullptr) {
    const ToyLibrary toy(2, four);
    const std::size_t pool = row.guidelines.size();
    const std::vector<std::int64_t> matched(pool, 0);
    const std::vector<std::int32_t> counts = {static_cast<std::int32_t>(pool)};
    std::vector<std::int32_t> guidelines(options.k);
    std::vector<float> scores(options.k);
    std::vector<std::int64_t> matched_out(options.k);
    std::vector<std::int32_t> taken(1);
    std::vector<float> risks(1);
    select_batch(toy.view(),
                 {{row.guidelines.data(), 1, pool},
                  {row.scores.data(), 1, pool},
                  {matched.data(), 1, pool},
                  counts,
                  row.allowed,
                  row.token_costs},
                 options,
                 {{guidelines.data(), 1, options.k},
                  {scores.data(), 1, options.k},
                  {matched_out.data(), 1, options.k},
                  taken,
                  risks});
    if (risk != nullptr) *risk = risks[0];
    for (std::size_t i = static_cast<std::size_t>(taken[0]); i < options.k; ++i) {
        expect(guidelines[i] == -1 && matched_out[i] == -1, "the rest of a row is -1");
    }
    guidelines.resize(static_cast<std::size_t>(taken[0]));
    return guidelines;
}

using Ids = std::vector<std::int32_t>;
const Row all = {{0, 2, 1, 3}, {0.9F, 0.8F, 0.6F, 0.3F}};

void takes_the_best_and_refills_for_duplicates() {
    expect(select(all, {.k = 2, .duplicate_ratio = 2.0}) == Ids({0, 2}), "all are kept");
    expect(select(all, {.k = 2}) == Ids({0, 1}), "2 repeats 0, so 1 moves up");
    expect(select(all, {.k = 4}) == Ids({0, 1, 3}), "k is a maximum");
}

void cuts_by_score() {
    expect(select(all, {.k = 4, .min_score = {0.5F, 0.7F}}) == Ids({0}), "each kind has its own threshold");
    expect(select(all, {.k = 4, .relative_cut = 0.6F}) == Ids({0, 1}), "below 0.54 is cut");
    expect(select({{3, 1}, {-0.2F, -0.4F}}, {.k = 2, .relative_cut = 0.9F}) == Ids({3, 1}),
           "a negative best score cuts nothing");
}

void filters() {
    Row row = all;
    row.allowed = {0, 1, 1, 1};
    expect(select(row, {.k = 4}) == Ids({2, 1, 3}), "0 is left out, so 2 repeats nothing");
    expect(select(row, {.k = 4, .relative_cut = 0.7F}) == Ids({2, 1}), "the best allowed one sets the cut");
}

void keeps_to_the_token_budget() {
    Row row = all;
    row.token_costs = {10, 8, 1, 3};
    expect(select(row, {.k = 4, .token_budget = 13}) == Ids({0, 3}), "1 does not fit and gives way to 3");
    expect(select(row, {.k = 4, .token_budget = 0}).empty(), "nothing fits into nothing");
    expect(select(row, {.k = 4, .token_budget = 9}) == Ids({2, 1}), "8 + 1 fit exactly");
}

void diversity_prefers_what_is_new() {
    const Row row = {{0, 2, 1}, {0.9F, 0.89F, 0.6F}};
    const SelectOptions options = {.k = 2, .duplicate_ratio = 2.0, .diversity = 0.5F};
    expect(select(row, options) == Ids({0, 1}), "2 points the same way as 0");
}

void risk_decides_which_kinds_are_shown() {
    // Safety: 0.9, 0.8, 0.3. Quality: 0.6, filled up with 0.3 twice.
    const float logit = 1.0F + 3.0F * ((0.9F + 0.8F + 0.3F) / 3.0F) - 3.0F * ((0.6F + 0.3F + 0.3F) / 3.0F);
    const float expected = 1.0F / (1.0F + std::exp(-logit));
    const RiskModel model = {.bias = 1.0F, .weights = {3.0F, -3.0F}};
    float risk = 0.0F;
    expect(select(all, {.k = 4, .risk = model}, &risk) == Ids({0, 1, 3}), "any risk suits");
    expect(std::abs(risk - expected) < 1e-6F, "the logistic of bias and weighted means");
    expect(select(all, {.k = 4, .risk = model, .min_risk = expected + 0.01F}) == Ids({1}), "no safety below it");
    expect(select(all, {.k = 4, .risk = model, .max_risk = expected - 0.01F}) == Ids({0, 3}), "no quality above it");
    expect(select(all, {.k = 4, .min_risk = 1.0F}, &risk) == Ids({0, 1, 3}), "without a model, risk is not read");
    expect(std::isnan(risk), "nor known");
    const RiskModel smooth = {.bias = 0.0F, .weights = {1.0F, -1.0F}, .temperature = 0.5F};
    select({{0}, {0.75F}}, {.k = 1, .risk = smooth}, &risk);
    expect(risk == 0.5F, "one candidate is the best and the lowest score of the row, for both kinds");
    expect(select({{}, {}}, {.k = 4, .risk = model}, &risk).empty() && risk == 0.0F, "nothing found, no risk");
}

void refuses_options_without_meaning() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    expect_error([&] { select(all, {.k = 1, .min_score = {nan, 0.0F}}); }, "min_score");
    expect_error([&] { select(all, {.k = 1, .relative_cut = nan}); }, "relative_cut");
    expect_error([&] { select(all, {.k = 1, .duplicate_ratio = 0.0}); }, "duplicate_ratio");
    expect_error([&] { select(all, {.k = 1, .diversity = 2.0F}); }, "diversity");
    expect_error([&] { select(all, {.k = 1, .min_risk = nan}); }, "min_risk");
    expect_error([&] { select(all, {.k = 1, .max_risk = -0.5F}); }, "max_risk");
    expect_error([&] { select(all, {.k = 1, .risk = RiskModel{.bias = nan}}); }, "risk model");
    expect_error([&] { select(all, {.k = 1, .risk = RiskModel{.temperature = -1.0F}}); }, "risk model");
    expect_error([&] { select({{9}, {0.5F}}, {.k = 1}); }, "guideline 9 is outside the library of 4");
    Row row = all;
    row.allowed = {1};
    expect_error([&] { select(row, {.k = 1}); }, "allowed must have one entry");
}

}  // namespace

int main() {
    with_each_kernel([] {
        takes_the_best_and_refills_for_duplicates();
        cuts_by_score();
        filters();
        keeps_to_the_token_budget();
        diversity_prefers_what_is_new();
        risk_decides_which_kinds_are_shown();
        refuses_options_without_meaning();
    });
}
