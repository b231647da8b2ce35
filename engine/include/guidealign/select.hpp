#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "guidealign/library.hpp"
#include "guidealign/views.hpp"

namespace guidealign {

struct SelectInputs {
    MatrixView<const std::int32_t> guidelines;  ///< (queries, pool) from rerank, best first
    MatrixView<const float> scores;             ///< (queries, pool)
    MatrixView<const std::int64_t> matched;     ///< (queries, pool)
    std::span<const std::int32_t> counts;       ///< (queries)
    std::span<const std::uint8_t> allowed;      ///< (guidelines) 0 = filtered out; empty = all are allowed
    std::span<const std::int32_t> token_costs;  ///< (guidelines) read only where there is a token budget
};

/// How likely it is that a request needs a safety guideline, in [0, 1]: logistic in how well each kind fits.
///
/// A kind's fit is read from the best `risk_candidates` of the row: temperature * log(mean(exp(score / temperature))),
/// where a candidate of the other kind, or one that was not found, counts as the row's lowest score. Both kinds are
/// read, since all scores grow with the length of a query and only their difference does not.
struct RiskModel {
    float bias = 0.0F;
    std::array<float, kind_count> weights = {};  ///< by kind
    float temperature = 0.0F;                    ///< 0 for the mean of the three best of the kind, as once was done
};

constexpr std::size_t risk_candidates = 48;

struct SelectOptions {
    std::size_t k = 6;
    std::array<float, kind_count> min_score = {-1.0F, -1.0F};  ///< by kind
    float relative_cut = 0.0F;                                 ///< drops scores below this share of the best one
    double duplicate_ratio = 0.5;  ///< Indel ratio from which two texts are one; above 1 keeps all
    float diversity = 0.0F;        ///< 0 = by score alone, 1 = only by distance from those already kept
    std::optional<RiskModel> risk = std::nullopt;
    float min_risk = 0.0F;  ///< safety guidelines are taken from this risk on; read only with a model
    float max_risk = 1.0F;  ///< quality guidelines are taken up to it
    std::int64_t token_budget = std::numeric_limits<std::int64_t>::max();
};

struct SelectOutputs {
    MatrixView<std::int32_t> guidelines;  ///< (queries, k) in the order of selection
    MatrixView<float> scores;             ///< (queries, k)
    MatrixView<std::int64_t> matched;     ///< (queries, k)
    std::span<std::int32_t> counts;       ///< (queries) how many, at most k; guidelines and matched are -1 after it
    std::span<float> risks;               ///< (queries) 0 for an empty row, NaN without a model
};

/// Takes from each ranked row, best first, up to k guidelines that are allowed, score high enough, suit the risk, fit
/// into the token budget and are no near-duplicate of one already taken; whatever is left out is refilled from further
/// down the row.
///
/// Diversity chooses by maximal marginal relevance (Carbonell and Goldstein, 1998) on the vectors of the texts.
/// The library must have passed its check. Calls may overlap. Throws std::invalid_argument for shapes that do not fit,
/// a guideline outside the library and options out of range.
void select_batch(const Library& library, const SelectInputs& in, const SelectOptions& options,
                  const SelectOutputs& out);

}  // namespace guidealign
