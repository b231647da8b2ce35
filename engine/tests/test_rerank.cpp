#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "check.hpp"
#include "guidealign/rerank.hpp"
#include "library_of.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

struct Ranked {
    std::vector<std::int32_t> guidelines;
    std::vector<float> scores;
    std::vector<std::int64_t> matched;
    std::vector<std::int32_t> counts;
};

Ranked rerank(const Library& library, const std::vector<float>& queries, const std::vector<std::int64_t>& candidates,
              std::size_t rows, const RerankOptions& options = {}) {
    const std::size_t pool = candidates.size() / rows;
    Ranked out = {std::vector<std::int32_t>(rows * pool), std::vector<float>(rows * pool),
                  std::vector<std::int64_t>(rows * pool), std::vector<std::int32_t>(rows)};
    rerank_batch(library, {{queries.data(), rows, queries.size() / rows}, {candidates.data(), rows, pool}}, options,
                 {{out.guidelines.data(), rows, pool},
                  {out.scores.data(), rows, pool},
                  {out.matched.data(), rows, pool},
                  out.counts});
    return out;
}

void scores_all_vectors_of_a_candidate_guideline() {
    const ToyLibrary toy(2, {{"a", {{0.5F, 0}, {1, 0}}}, {"b", {{0.75F, 0}}}, {"c", {{0.25F, 0}}}});
    const Ranked ranked = rerank(toy.view(), {1, 0}, {0, 2, -1}, 1);
    expect(ranked.counts[0] == 2, "two guidelines own candidates");
    expect(ranked.guidelines == std::vector<std::int32_t>({0, 1, -1}), "the vector that was no candidate counts");
    expect(ranked.scores == std::vector<float>({1.0F, 0.75F, 0.0F}), "exact scores");
    expect(ranked.matched == std::vector<std::int64_t>({1, 2, -1}), "the vector behind each score");
}

void ties_put_the_lower_guideline_first() {
    const ToyLibrary toy(2, {{"a", {{0.5F, 0}}}, {"b", {{0.5F, 0}}}, {"c", {{0.5F, 0}}}});
    expect(rerank(toy.view(), {1, 0}, {2, 0, 1}, 1).guidelines == std::vector<std::int32_t>({0, 1, 2}), "in order");
}

void priority_and_smooth_fold() {
    const ToyLibrary toy(2, {{"a", {{0.5F, 0}}, 0, 1.0F}, {"b", {{0.5F, 0}, {0.25F, 0}}}});
    expect(rerank(toy.view(), {1, 0}, {0, 1}, 1, {.prior_weight = 0.25F}).scores[0] == 0.75F, "0.5 + 0.25 * 1");
    const RerankOptions smooth = {.fold = Fold::smooth, .smooth_temperature = 0.1F};
    const float expected = 0.5F + 0.1F * std::log((1.0F + std::exp(-2.5F)) / 2.0F);
    expect(std::abs(rerank(toy.view(), {1, 0}, {1}, 1, smooth).scores[0] - expected) < 1e-6F, "smooth best");
}

void refuses_what_it_cannot_score() {
    const ToyLibrary toy(2, {{"a", {{0.5F, 0}}}});
    const float nan = std::numeric_limits<float>::quiet_NaN();
    expect_error([&] { rerank(toy.view(), {nan, 0}, {0}, 1); }, "query 0 and guideline 0 have no finite score");
    expect_error([&] { rerank(toy.view(), {1, 0}, {7}, 1); }, "candidate 7 is outside the 1 stored vectors");
    expect_error([&] { rerank(toy.view(), {1, 0, 0}, {0}, 1); }, "same dimension");
    expect_error([&] { rerank(toy.view(), {1, 0}, {0}, 1, {.smooth_temperature = 0.0F}); }, "above 0");
}

/// Whatever the width, all kernels give the same bits.
void kernels_agree_to_the_last_bit() {
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0.0F, 0.1F);
    for (const std::size_t dimension : {1U, 7U, 8U, 31U, 32U, 33U, 64U, 100U, 256U}) {
        std::vector<ToyGuideline> guidelines(20, {"x", {{}}});
        std::vector<std::int64_t> candidates;
        for (std::size_t g = 0; g < guidelines.size(); ++g) {
            for (std::size_t i = 0; i < dimension; ++i) guidelines[g].vectors[0].push_back(normal(random));
            candidates.push_back(static_cast<std::int64_t>(g));
        }
        std::vector<float> query(dimension);
        for (float& value : query) value = normal(random);
        const ToyLibrary toy(dimension, guidelines);
        std::vector<Ranked> answers;
        with_each_kernel([&] { answers.push_back(rerank(toy.view(), query, candidates, 1)); });
        for (const Ranked& answer : answers) {
            expect(answer.guidelines == answers[0].guidelines, "dimension " + std::to_string(dimension));
            expect(std::memcmp(answer.scores.data(), answers[0].scores.data(), 20 * sizeof(float)) == 0, "bits");
        }
    }
}

void int8_vectors_use_their_scales() {
    const std::vector<std::int8_t> rows = {127, 0, 0, -127};
    const std::vector<float> scales = {1.0F / 127.0F, 0.5F / 127.0F};
    const ToyLibrary toy(2, {{"a", {{1, 0}}}, {"b", {{0, 1}}}});
    Library library = toy.view();
    library.vectors = Int8Vectors{{rows.data(), 2, 2}, scales};
    const Ranked ranked = rerank(library, {0.5F, -1.0F}, {0, 1}, 1);
    expect(std::abs(ranked.scores[0] - 0.5F) < 1e-6F && std::abs(ranked.scores[1] - 0.5F) < 1e-6F, "scaled");
}

}  // namespace

int main() {
    with_each_kernel([] {
        scores_all_vectors_of_a_candidate_guideline();
        ties_put_the_lower_guideline_first();
        priority_and_smooth_fold();
        refuses_what_it_cannot_score();
        int8_vectors_use_their_scales();
    });
    kernels_agree_to_the_last_bit();
}
