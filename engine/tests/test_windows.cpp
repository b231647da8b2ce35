#include "check.hpp"
#include "guidealign/windows.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

using Ids = std::vector<std::int64_t>;
using Floats = std::vector<float>;

// Two prompts: one window, and four of them. Token t has salience t.
const Floats salience = {0.0F, 1.0F, 2.0F, 3.0F, 4.0F};
const Ids ids = {1, 1, 2, 2, 4, 4, 4, 4, 3};
const Ids token_offsets = {0, 1, 3, 4, 8, 9};
const Ids offsets = {0, 1, 5};

ChosenWindows chosen(const WindowOptions& options, const Floats& weights = salience) {
    return choose_windows({ids, token_offsets, offsets, weights}, options);
}

void the_most_salient_are_chosen_in_the_order_of_the_text() {
    // Points: 3 / sqrt(2), 2, 16 / 2, 3.
    const ChosenWindows found = chosen({.most = 2, .end_bonus = 0.0F, .cost = 0.5F});
    expect(found.windows == Ids({0, 3, 4}) && found.offsets == Ids({0, 1, 3}), "one window is always taken");
    expect(found.penalties == Floats({0.0F, 0.0F, 2.5F}), "half of the five points between them");
}

void an_end_gets_its_bonus() {
    const ChosenWindows found = chosen({.most = 2, .end_bonus = 10.0F, .cost = 1.0F});
    expect(found.windows == Ids({0, 1, 4}), "the first and the last one");
    expect(found.penalties[2] == 0.0F && found.penalties[1] > 0.8F && found.penalties[1] < 0.9F, "3 - 3 / sqrt(2)");
}

void equal_points_put_the_earlier_first() {
    const ChosenWindows found = chosen({.most = 3, .end_bonus = 1.0F, .cost = 1.0F}, {});
    expect(found.windows == Ids({0, 1, 2, 4}), "both ends, then the earlier of the others");
    expect(found.penalties == Floats({0.0F, 0.0F, 1.0F, 0.0F}), "the bonus is what the one between lacks");
}

void a_window_without_tokens_comes_last() {
    const ChosenWindows found =
        choose_windows({Ids{1}, Ids{0, 0, 1, 1}, Ids{0, 3}, salience}, {.most = 3, .end_bonus = 9.0F, .cost = 1.0F});
    expect(found.windows == Ids({1}), "nothing to search for in the others");
    const ChosenWindows nothing = choose_windows({{}, Ids{0, 0}, Ids{0, 1}, salience}, {});
    expect(nothing.windows == Ids({0}) && nothing.penalties == Floats({0.0F}), "a prompt keeps a window");
}

void bad_windows_are_refused() {
    expect_error([] { (void)chosen({}, {0.0F, 1.0F}); }, "token 2 is outside the 2 that have a salience");
    expect_error([] { (void)chosen({.most = 0}); }, "at least one window");
    expect_error([] { (void)choose_windows({ids, token_offsets, Ids{0, 0, 5}, salience}, {}); }, "prompt 0 has no");
    expect_error([] { (void)choose_windows({ids, token_offsets, Ids{0, 6}, salience}, {}); }, "number of windows");
    expect_error([] { (void)choose_windows({ids, Ids{0, 10}, Ids{0, 1}, salience}, {}); }, "number of ids");
}

struct Folded {
    explicit Folded(std::size_t rows) : prompts(rows), guidelines(rows * 3), scores(rows * 3) {
        matched.resize(rows * 3);
        counts.resize(rows);
    }
    [[nodiscard]] FoldedWindows out() {
        return {{guidelines.data(), prompts, 3}, {scores.data(), prompts, 3}, {matched.data(), prompts, 3}, counts};
    }

    std::size_t prompts;
    std::vector<std::int32_t> guidelines;
    Floats scores;
    Ids matched;
    std::vector<std::int32_t> counts;
};

// Windows 0 and 1 are prompt 0, window 2 is prompt 1.
const std::vector<std::int32_t> ranked = {5, 2, -1, 2, 7, 9, 4, -1, -1};
const Floats ranked_scores = {0.75F, 0.5F, 0.0F, 1.0F, 0.875F, 0.75F, 0.25F, 0.0F, 0.0F};
const Ids ranked_matched = {50, 20, -1, 21, 70, 90, 40, -1, -1};
const std::vector<std::int32_t> ranked_counts = {2, 3, 1};

RankedWindows windows(const Ids& cuts, const Floats& penalties) {
    return {{ranked.data(), 3, 3},
            {ranked_scores.data(), 3, 3},
            {ranked_matched.data(), 3, 3},
            ranked_counts,
            cuts,
            penalties};
}

void a_guideline_keeps_its_best_score_less_the_penalty() {
    Folded folded(2);
    fold_windows(windows(Ids{0, 2, 3}, Floats{0.0F, 0.125F, 0.0F}), folded.out());
    expect(folded.guidelines == std::vector<std::int32_t>({2, 5, 7, 4, -1, -1}), "9 is the fourth, 5 before 7");
    expect(folded.scores == Floats({0.875F, 0.75F, 0.75F, 0.25F, 0.0F, 0.0F}), "less an eighth in window 1");
    expect(folded.matched == Ids({21, 50, 70, 40, -1, -1}), "from the window of the score");
    expect(folded.counts == std::vector<std::int32_t>({3, 1}), "at most as many as there are columns");
}

void a_prompt_of_no_window_finds_nothing() {
    Folded folded(1);
    fold_windows(windows(Ids{3, 3}, Floats{0.0F, 0.0F, 0.0F}), folded.out());
    expect(folded.counts[0] == 0 && folded.guidelines[0] == -1 && folded.matched[2] == -1, "an empty row");
}

void shapes_that_do_not_fit_are_refused() {
    Folded folded(2);
    expect_error([&] { fold_windows(windows(Ids{0, 2, 3}, Floats{0.0F}), folded.out()); }, "the same rows");
    expect_error([&] { fold_windows(windows(Ids{0, 3}, Floats(3)), folded.out()); }, "one row for each prompt");
    expect_error([&] { fold_windows(windows(Ids{0, 2, 4}, Floats(3)), folded.out()); }, "number of windows");
}

}  // namespace

int main() {
    the_most_salient_are_chosen_in_the_order_of_the_text();
    an_end_gets_its_bonus();
    equal_points_put_the_earlier_first();
    a_window_without_tokens_comes_last();
    bad_windows_are_refused();
    a_guideline_keeps_its_best_score_less_the_penalty();
    a_prompt_of_no_window_finds_nothing();
    shapes_that_do_not_fit_are_refused();
}
