#pragma once

#include <cstdint>
#include <span>

#include "guidealign/library.hpp"
#include "guidealign/views.hpp"

namespace guidealign {

/// How the scores of a guideline's vectors become the guideline's score.
enum class Fold : std::uint8_t {
    best,    ///< the highest
    smooth,  ///< temperature * log(mean(exp(score / temperature))): several good vectors beat a single one
};

struct RerankInputs {
    MatrixView<const float> queries;            ///< (queries, dimension), unit length
    MatrixView<const std::int64_t> candidates;  ///< (queries, pool) vector ids from the index; negative = empty slot
};

struct RerankOptions {
    Fold fold = Fold::best;
    float smooth_temperature = 0.05F;
    float prior_weight = 0.0F;  ///< how much of `priority` is added to the score
};

struct RerankOutputs {
    MatrixView<std::int32_t> guidelines;  ///< (queries, pool), rows end in -1 after counts[row]
    MatrixView<float> scores;             ///< (queries, pool)
    MatrixView<std::int64_t> matched;     ///< (queries, pool) the guideline's best vector
    std::span<std::int32_t> counts;       ///< (queries) guidelines found
};

/// Scores every guideline that has a vector among the candidates, on all of its stored vectors, best first.
///
/// The candidates may come from an approximate search: only which guidelines are scored depends on it, the scores do
/// not. Equal scores put the lower guideline first. The library must have passed its check.
/// Reads its inputs and writes only `out`, so calls may overlap. Throws std::invalid_argument for shapes that do not
/// fit, a vector id outside the table, and scores that are not finite (a NaN in a query, a stored vector or a
/// priority), naming the row.
void rerank_batch(const Library& library, const RerankInputs& in, const RerankOptions& options,
                  const RerankOutputs& out);

}  // namespace guidealign
