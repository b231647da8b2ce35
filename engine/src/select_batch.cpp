#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "guidealign/dedupe.hpp"
#include "guidealign/select.hpp"
#include "stored_dot.hpp"

namespace guidealign {
namespace {

/// Similarity of the candidates of a row to those already taken, for maximal marginal relevance.
class Diversity {
  public:
    Diversity(const Library& library, float weight) : library_(library), dot_(library.vectors), weight_(weight) {}

    void start_row(std::size_t candidates) { nearest_.assign(candidates, -1.0F); }

    [[nodiscard]] float value(std::size_t position, float score) const {
        return nearest_[position] < 0.0F ? score : (1.0F - weight_) * score - weight_ * nearest_[position];
    }

    void take(std::int32_t taken, std::span<const std::int32_t> guidelines) {
        text_vector_.resize(dimension(library_.vectors));
        copy_vector(first_vector(taken));
        for (std::size_t i = 0; i < nearest_.size(); ++i) {
            const float similarity = dot_(text_vector_.data(), first_vector(guidelines[i]));
            nearest_[i] = std::max(nearest_[i], std::max(similarity, 0.0F));
        }
    }

  private:
    /// A guideline's first vector is that of its text.
    [[nodiscard]] std::size_t first_vector(std::int32_t guideline) const {
        return static_cast<std::size_t>(library_.vector_offsets[static_cast<std::size_t>(guideline)]);
    }

    void copy_vector(std::size_t row) {
        if (const auto* half = std::get_if<HalfVectors>(&library_.vectors)) {
            const auto stored = half->rows.row(row);
            std::transform(stored.begin(), stored.end(), text_vector_.begin(), &kernels::to_float);
            return;
        }
        const auto& int8 = std::get<Int8Vectors>(library_.vectors);
        const auto stored = int8.rows.row(row);
        std::transform(stored.begin(), stored.end(), text_vector_.begin(),
                       [&](std::int8_t value) { return static_cast<float>(value) * int8.scales[row]; });
    }

    const Library& library_;
    StoredDot dot_;
    float weight_;
    std::vector<float> nearest_;
    std::vector<float> text_vector_;
};

/// Mean score of the three best of a kind.
float best_three(std::span<const std::int32_t> guidelines, std::span<const float> scores, const Library& library,
                 std::uint8_t kind) {
    constexpr int wanted = 3;
    int missing = wanted;
    float sum = 0.0F;
    for (std::size_t i = 0; i < guidelines.size() && missing > 0; ++i) {
        if (library.kinds[static_cast<std::size_t>(guidelines[i])] != kind) continue;
        sum += scores[i];
        --missing;
    }
    return (sum + static_cast<float>(missing) * scores.back()) / static_cast<float>(wanted);
}

/// The highest score is taken out of the exponent so that nothing overflows.
float smooth_fit(std::span<const std::int32_t> guidelines, std::span<const float> scores, const Library& library,
                 std::uint8_t kind, float temperature) {
    const std::size_t read = std::min(guidelines.size(), risk_candidates);
    const float highest = scores.front();
    const float other = std::exp((scores[read - 1] - highest) / temperature);
    float sum = 0.0F;
    for (std::size_t i = 0; i < read; ++i) {
        const bool of_kind = library.kinds[static_cast<std::size_t>(guidelines[i])] == kind;
        sum += of_kind ? std::exp((scores[i] - highest) / temperature) : other;
    }
    return highest + temperature * std::log(sum / static_cast<float>(read));
}

float risk_of(std::span<const std::int32_t> guidelines, std::span<const float> scores, const Library& library,
              const RiskModel& model) {
    if (guidelines.empty()) return 0.0F;
    float logit = model.bias;
    for (std::uint8_t kind = 0; kind < kind_count; ++kind) {
        const float fit = model.temperature > 0.0F ? smooth_fit(guidelines, scores, library, kind, model.temperature)
                                                   : best_three(guidelines, scores, library, kind);
        logit += model.weights[kind] * fit;
    }
    return 1.0F / (1.0F + std::exp(-logit));
}

void check_inside(std::span<const std::int32_t> guidelines, const Library& library) {
    for (const std::int32_t guideline : guidelines) {
        if (static_cast<std::size_t>(guideline) < library.size()) continue;
        throw std::invalid_argument("guideline " + std::to_string(guideline) + " is outside the library of " +
                                    std::to_string(library.size()));
    }
}

/// The thresholds of a row: a kind that does not suit its risk is out of reach.
std::array<float, kind_count> thresholds_at(float risk, const SelectOptions& options) {
    std::array<float, kind_count> min_score = options.min_score;
    if (risk < options.min_risk) min_score[safety_kind] = std::numeric_limits<float>::infinity();
    if (risk > options.max_risk) min_score[quality_kind] = std::numeric_limits<float>::infinity();
    return min_score;
}

/// What remains of a row after all rules that look at one guideline alone: its positions, best first.
void keep_eligible(std::span<const std::int32_t> guidelines, std::span<const float> scores, const Library& library,
                   std::span<const std::uint8_t> allowed, const std::array<float, kind_count>& min_score,
                   float relative_cut, std::vector<std::int32_t>& positions) {
    positions.clear();
    float lowest = -std::numeric_limits<float>::infinity();
    bool first_allowed = true;
    for (std::size_t i = 0; i < guidelines.size(); ++i) {
        const auto guideline = static_cast<std::size_t>(guidelines[i]);
        if (!allowed.empty() && allowed[guideline] == 0) continue;
        // The best allowed guideline sets the relative cut. A share of a negative score would lie above that score.
        if (first_allowed && relative_cut > 0.0F && scores[i] > 0.0F) lowest = relative_cut * scores[i];
        first_allowed = false;
        if (scores[i] < lowest) return;
        if (scores[i] >= min_score[library.kinds[guideline]]) positions.push_back(static_cast<std::int32_t>(i));
    }
}

template <class Symbol>
class RowSelector {
  public:
    RowSelector(const Library& library, const SelectInputs& in, const SelectOptions& options,
                const RaggedView<Symbol>& symbols)
        : library_(library),
          in_(in),
          options_(options),
          symbols_(symbols),
          duplicates_(options.duplicate_ratio, library.alphabet_size),
          diversity_(library, options.diversity) {}

    /// The columns of the ranked row that were taken, in the order of selection.
    std::span<const std::int32_t> select(std::span<const std::int32_t> guidelines, std::span<const float> scores) {
        check_inside(guidelines, library_);
        risk_ = options_.risk ? risk_of(guidelines, scores, library_, *options_.risk) : no_risk;
        const auto min_score = options_.risk ? thresholds_at(risk_, options_) : options_.min_score;
        keep_eligible(guidelines, scores, library_, in_.allowed, min_score, options_.relative_cut, remaining_);
        duplicates_.clear();
        if (options_.diversity > 0.0F) diversity_.start_row(guidelines.size());

        std::int64_t tokens_left = options_.token_budget;
        taken_.clear();
        std::size_t next = 0;
        while (taken_.size() < options_.k && next < remaining_.size()) {
            bring_best_forward(next, scores);
            const std::int32_t position = remaining_[next++];
            const std::int32_t guideline = guidelines[static_cast<std::size_t>(position)];
            if (!fits(guideline, tokens_left) || is_duplicate(guideline)) continue;

            taken_.push_back(position);
            if (has_budget()) tokens_left -= in_.token_costs[static_cast<std::size_t>(guideline)];
            if (drops_duplicates()) duplicates_.keep(symbols_[static_cast<std::size_t>(guideline)]);
            if (options_.diversity > 0.0F) diversity_.take(guideline, guidelines);
        }
        return taken_;
    }

    /// Of the row that was selected from last.
    [[nodiscard]] float risk() const { return risk_; }

  private:
    static constexpr float no_risk = std::numeric_limits<float>::quiet_NaN();

    [[nodiscard]] bool has_budget() const { return !in_.token_costs.empty(); }
    [[nodiscard]] bool drops_duplicates() const { return options_.duplicate_ratio <= 1.0; }

    /// Without diversity the row is in the right order already.
    void bring_best_forward(std::size_t next, std::span<const float> scores) {
        if (options_.diversity <= 0.0F) return;
        const auto begin = remaining_.begin() + static_cast<std::ptrdiff_t>(next);
        const auto best = std::max_element(begin, remaining_.end(), [&](std::int32_t left, std::int32_t right) {
            const auto l = static_cast<std::size_t>(left);
            const auto r = static_cast<std::size_t>(right);
            return diversity_.value(l, scores[l]) < diversity_.value(r, scores[r]);
        });
        std::rotate(begin, best, best + 1);
    }

    [[nodiscard]] bool fits(std::int32_t guideline, std::int64_t tokens_left) const {
        return !has_budget() || in_.token_costs[static_cast<std::size_t>(guideline)] <= tokens_left;
    }

    [[nodiscard]] bool is_duplicate(std::int32_t guideline) {
        return drops_duplicates() && duplicates_.is_duplicate(symbols_[static_cast<std::size_t>(guideline)]);
    }

    const Library& library_;
    const SelectInputs& in_;
    const SelectOptions& options_;
    const RaggedView<Symbol>& symbols_;
    DuplicateFilter<Symbol> duplicates_;
    Diversity diversity_;
    float risk_ = no_risk;
    std::vector<std::int32_t> remaining_;
    std::vector<std::int32_t> taken_;
};

void write_row(std::size_t row, std::span<const std::int32_t> taken, const SelectInputs& in, const SelectOutputs& out) {
    const auto guidelines = out.guidelines.row(row);
    const auto scores = out.scores.row(row);
    const auto matched = out.matched.row(row);
    std::fill(guidelines.begin(), guidelines.end(), -1);
    std::fill(scores.begin(), scores.end(), 0.0F);
    std::fill(matched.begin(), matched.end(), -1);
    for (std::size_t i = 0; i < taken.size(); ++i) {
        const auto column = static_cast<std::size_t>(taken[i]);
        guidelines[i] = in.guidelines.row(row)[column];
        scores[i] = in.scores.row(row)[column];
        matched[i] = in.matched.row(row)[column];
    }
    out.counts[row] = static_cast<std::int32_t>(taken.size());
}

/// Behind this door every shape fits and every option has a meaning.
void check(const Library& library, const SelectInputs& in, const SelectOptions& options, const SelectOutputs& out) {
    const auto require = [](bool holds, const char* rule) {
        if (!holds) throw std::invalid_argument(rule);
    };
    const std::size_t rows = in.guidelines.rows;
    const std::size_t guidelines = library.size();
    require(in.scores.rows == rows && in.scores.columns == in.guidelines.columns && in.matched.rows == rows &&
                in.matched.columns == in.guidelines.columns && in.counts.size() == rows,
            "guidelines, scores, matched and counts must have the same rows");
    require(in.allowed.empty() || in.allowed.size() == guidelines, "allowed must have one entry for each guideline");
    require(in.token_costs.empty() || in.token_costs.size() == guidelines,
            "token_costs must have one entry for each guideline");
    const auto has_shape = [&](const auto& matrix) { return matrix.rows == rows && matrix.columns == options.k; };
    require(has_shape(out.guidelines) && has_shape(out.scores) && has_shape(out.matched) && out.counts.size() == rows &&
                out.risks.size() == rows,
            "outputs must have one row for each query and k columns");
    require(std::none_of(options.min_score.begin(), options.min_score.end(), [](float s) { return std::isnan(s); }),
            "min_score must be a number");
    require(options.relative_cut >= 0.0F && options.relative_cut <= 1.0F, "relative_cut must lie between 0 and 1");
    require(options.diversity >= 0.0F && options.diversity <= 1.0F, "diversity must lie between 0 and 1");
    require(options.min_risk >= 0.0F && options.min_risk <= 1.0F, "min_risk must lie between 0 and 1");
    require(options.max_risk >= 0.0F && options.max_risk <= 1.0F, "max_risk must lie between 0 and 1");
    if (options.risk) {
        const auto& weights = options.risk->weights;
        require(std::isfinite(options.risk->bias) && std::isfinite(options.risk->temperature) &&
                    options.risk->temperature >= 0.0F &&
                    std::all_of(weights.begin(), weights.end(), [](float w) { return std::isfinite(w); }),
                "the risk model must be finite");
    }
    require(options.duplicate_ratio > 0.0, "duplicate_ratio must be above 0");
    for (std::size_t row = 0; row < rows; ++row) {
        require(in.counts[row] >= 0 && static_cast<std::size_t>(in.counts[row]) <= in.guidelines.columns,
                "counts must lie between 0 and the number of columns");
    }
}

}  // namespace

void select_batch(const Library& library, const SelectInputs& in, const SelectOptions& options,
                  const SelectOutputs& out) {
    check(library, in, options, out);
    std::visit(
        [&](const auto& symbols) {
            RowSelector selector(library, in, options, symbols);
            for (std::size_t row = 0; row < in.guidelines.rows; ++row) {
                const auto found = static_cast<std::size_t>(in.counts[row]);
                const auto guidelines = in.guidelines.row(row).first(found);
                write_row(row, selector.select(guidelines, in.scores.row(row).first(found)), in, out);
                out.risks[row] = selector.risk();
            }
        },
        library.symbols);
}

}  // namespace guidealign
