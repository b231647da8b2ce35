#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "guidealign/rerank.hpp"
#include "stored_dot.hpp"

namespace guidealign {
namespace {

struct Scored {
    std::int32_t guideline;
    float score;
    std::int64_t matched;
};

struct Scratch {
    explicit Scratch(const Library& library) : dot(library.vectors) {}

    StoredDot dot;
    std::vector<std::int32_t> guidelines;
    std::vector<Scored> scored;
    std::vector<float> vector_scores;
};

/// The guidelines that own the candidates, each once, in ascending order.
void collect_guidelines(std::span<const std::int64_t> candidates, std::span<const std::int32_t> owners,
                        std::vector<std::int32_t>& guidelines) {
    guidelines.clear();
    for (const std::int64_t vector : candidates) {
        if (vector < 0) continue;
        if (static_cast<std::size_t>(vector) >= owners.size()) {
            throw std::invalid_argument("candidate " + std::to_string(vector) + " is outside the " +
                                        std::to_string(owners.size()) + " stored vectors");
        }
        guidelines.push_back(owners[static_cast<std::size_t>(vector)]);
    }
    std::sort(guidelines.begin(), guidelines.end());
    guidelines.erase(std::unique(guidelines.begin(), guidelines.end()), guidelines.end());
}

/// The mean keeps a guideline with many examples from winning by their number alone; the highest score is taken out
/// of the exponent so that nothing overflows.
float smooth_best(std::span<const float> scores, float best, float temperature) {
    float sum = 0.0F;
    for (const float score : scores) sum += std::exp((score - best) / temperature);
    return best + temperature * std::log(sum / static_cast<float>(scores.size()));
}

Scored score_guideline(std::int32_t guideline, const float* query, const Library& library, const RerankOptions& options,
                       Scratch& scratch) {
    std::vector<float>& vector_scores = scratch.vector_scores;
    const auto index = static_cast<std::size_t>(guideline);
    const std::int64_t first = library.vector_offsets[index];
    const std::int64_t last = library.vector_offsets[index + 1];
    vector_scores.clear();
    for (std::int64_t vector = first; vector < last; ++vector) {
        vector_scores.push_back(scratch.dot(query, static_cast<std::size_t>(vector)));
        // A NaN is neither above nor below another score, so it could hide behind one.
        if (!std::isfinite(vector_scores.back())) return {guideline, vector_scores.back(), vector};
    }
    const auto best = std::max_element(vector_scores.begin(), vector_scores.end());
    const float folded =
        options.fold == Fold::best ? *best : smooth_best(vector_scores, *best, options.smooth_temperature);
    return {guideline, folded + options.prior_weight * library.priority[index], first + (best - vector_scores.begin())};
}

void prefetch(std::int32_t guideline, const Library& library, const Scratch& scratch) {
    const auto index = static_cast<std::size_t>(guideline);
    scratch.dot.prefetch(static_cast<std::size_t>(library.vector_offsets[index]),
                         static_cast<std::size_t>(library.vector_offsets[index + 1]));
}

void rerank_row(std::size_t row, const Library& library, const RerankInputs& in, const RerankOptions& options,
                const RerankOutputs& out, Scratch& scratch) {
    collect_guidelines(in.candidates.row(row), library.owners, scratch.guidelines);
    scratch.scored.clear();
    for (std::size_t i = 0; i < scratch.guidelines.size(); ++i) {
        const std::int32_t guideline = scratch.guidelines[i];
        // The vectors of candidates lie all over the table: while one guideline is scored, the next one's come closer.
        if (i + 1 < scratch.guidelines.size()) prefetch(scratch.guidelines[i + 1], library, scratch);
        const Scored scored = score_guideline(guideline, in.queries.row(row).data(), library, options, scratch);
        if (!std::isfinite(scored.score)) {
            throw std::invalid_argument("query " + std::to_string(row) + " and guideline " + std::to_string(guideline) +
                                        " have no finite score; queries, vectors and priorities must be finite");
        }
        scratch.scored.push_back(scored);
    }
    std::sort(scratch.scored.begin(), scratch.scored.end(), [](const Scored& left, const Scored& right) {
        return left.score != right.score ? left.score > right.score : left.guideline < right.guideline;
    });

    const auto guidelines = out.guidelines.row(row);
    const auto scores = out.scores.row(row);
    const auto matched = out.matched.row(row);
    for (std::size_t i = 0; i < scratch.scored.size(); ++i) {
        guidelines[i] = scratch.scored[i].guideline;
        scores[i] = scratch.scored[i].score;
        matched[i] = scratch.scored[i].matched;
    }
    const std::size_t count = scratch.scored.size();
    std::fill(guidelines.begin() + static_cast<std::ptrdiff_t>(count), guidelines.end(), -1);
    std::fill(scores.begin() + static_cast<std::ptrdiff_t>(count), scores.end(), 0.0F);
    std::fill(matched.begin() + static_cast<std::ptrdiff_t>(count), matched.end(), -1);
    out.counts[row] = static_cast<std::int32_t>(count);
}

/// Behind this door every shape fits. Vector ids are checked one by one, since they come from an index file.
void check(const Library& library, const RerankInputs& in, const RerankOptions& options, const RerankOutputs& out) {
    const auto require = [](bool holds, const char* rule) {
        if (!holds) throw std::invalid_argument(rule);
    };
    require(in.queries.rows == in.candidates.rows, "queries and candidates must have the same number of rows");
    require(in.queries.columns == dimension(library.vectors),
            "queries and stored vectors must have the same dimension");
    require(out.guidelines.rows == in.candidates.rows && out.guidelines.columns == in.candidates.columns &&
                out.scores.rows == in.candidates.rows && out.scores.columns == in.candidates.columns &&
                out.matched.rows == in.candidates.rows && out.matched.columns == in.candidates.columns &&
                out.counts.size() == in.candidates.rows,
            "outputs must have the shape of candidates");
    require(options.smooth_temperature > 0.0F, "smooth_temperature must be above 0");
}

}  // namespace

void rerank_batch(const Library& library, const RerankInputs& in, const RerankOptions& options,
                  const RerankOutputs& out) {
    check(library, in, options, out);
    Scratch scratch(library);
    for (std::size_t row = 0; row < in.queries.rows; ++row) rerank_row(row, library, in, options, out, scratch);
}

}  // namespace guidealign
