#include "check.hpp"
#include "guidealign/bigrams.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

using Ids = std::vector<std::int64_t>;

Bigrams bigrams_of(const std::vector<std::int32_t>& pairs, std::size_t width = 2) {
    return Bigrams({pairs.data(), pairs.size() / width, width}, 100);
}

void a_row_keeps_its_tokens_and_gets_its_bigrams() {
    const Bigrams bigrams = bigrams_of({1, 2, 2, 1, 7, 7});
    const TokenRows rows = bigrams.append(Ids{1, 2, 1, 5, 7, 7, 7}, Ids{0, 4, 4, 7});
    expect(rows.ids == Ids({1, 2, 1, 5, 100, 101, 7, 7, 7, 102, 102}), "tokens, then bigrams in the order of the text");
    expect(rows.offsets == Ids({0, 6, 6, 11}), "an empty row stays empty, and no bigram crosses rows");
}

void order_matters() {
    const Bigrams bigrams = bigrams_of({1, 2});
    expect(bigrams.append(Ids{2, 1}, Ids{0, 2}).ids == Ids({2, 1}), "2 1 is not 1 2");
}

void without_bigrams_nothing_is_added() {
    expect(bigrams_of({}).append(Ids{1, 2}, Ids{0, 2}).ids == Ids({1, 2}), "no pair is known");
}

void bad_input_is_refused() {
    expect_error([] { (void)bigrams_of({1, 2, 3}, 3); }, "two token ids each");
    expect_error([] { (void)bigrams_of({1, 100}); }, "bigram 0 is of tokens 1 and 100");
    expect_error([] { (void)bigrams_of({3, 4, -1, 2}); }, "bigram 1 is of tokens -1 and 2");
    expect_error([] { (void)bigrams_of({3, 4, 5, 6, 3, 4}); }, "bigram 2 comes twice");
    expect_error([] { (void)bigrams_of({}).append(Ids{1}, Ids{0, 2}); }, "at most the number of ids");
}

}  // namespace

int main() {
    a_row_keeps_its_tokens_and_gets_its_bigrams();
    order_matters();
    without_bigrams_nothing_is_added();
    bad_input_is_refused();
}
