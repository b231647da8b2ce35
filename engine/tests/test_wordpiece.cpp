#include <string>

#include "check.hpp"
#include "guidealign/wordpiece.hpp"

using namespace guidealign;
using namespace guidealign::testing;

namespace {

const std::vector<std::string> pieces = {"[PAD]", "[UNK]", "un",   "##aff", "##able", "a",
                                         "##ff",  "able",  "##ed", "!",     "#",      "##a"};

std::vector<std::int64_t> ids_of(std::string_view text, const WordPieceOptions& options = {.unknown = 1},
                                 std::size_t max_tokens = 100) {
    const WordPiece wordpiece(pieces, options);
    const std::vector<std::string_view> texts = {text};
    return wordpiece.encode(texts, max_tokens).ids;
}

using Ids = std::vector<std::int64_t>;

void words_are_split_into_the_longest_pieces() {
    expect(ids_of("unaffable") == Ids({2, 3, 4}), "un ##aff ##able");
    expect(ids_of("UNable") == Ids({2, 4}), "lower case, and the continuing piece and not the one of the same letters");
    expect(ids_of("able") == Ids({7}), "the piece at the start of a word");
    expect(ids_of("un  a\tun\n") == Ids({2, 5, 2}), "white space ends words and is dropped");
    expect(ids_of("").empty() && ids_of(" \r\n").empty(), "nothing to find");
}

void punctuation_is_a_word_of_its_own() {
    expect(ids_of("un!able!!") == Ids({2, 9, 7, 9, 9}), "marks part words");
    expect(ids_of("#a") == Ids({10, 5}), "a written # is no continuing piece");
    expect(ids_of("##a") == Ids({10, 10, 5}), "nor are two");
    expect(ids_of("?") == Ids({1}), "a mark without a piece is unknown");
}

void what_no_pieces_make_up_is_unknown() {
    expect(ids_of("unx able") == Ids({1, 7}), "a word is known as a whole or not at all");
    expect(ids_of("[UNK]") == Ids({1, 1, 1}), "text can not write the unknown token, only be unknown");
    expect(ids_of("aaaa", {.unknown = 1, .max_word_characters = 3}) == Ids({1}), "a word that is too long");
    expect(ids_of("aaa", {.unknown = 1, .max_word_characters = 3}) == Ids({5, 11, 11}),
           "one that is just short enough");
}

void controls_are_dropped_on_request() {
    expect(ids_of("u\x01n") == Ids({1}), "part of the word");
    expect(ids_of("u\x01n", {.unknown = 1, .drops_controls = true}) == Ids({2}), "as if it were not there");
    expect(ids_of("un\va", {.unknown = 1}) == Ids({2, 5}), "white space");
    expect(ids_of("un\va", {.unknown = 1, .drops_controls = true}) == Ids({2, 11}), "a control to BERT's normaliser");
}

void rows_are_cut_and_stay_apart() {
    const WordPiece wordpiece(pieces, {.unknown = 1});
    const std::vector<std::string_view> texts = {"unaffable a", "", "a!"};
    const TokenRows rows = wordpiece.encode(texts, 2);
    expect(rows.ids == Ids({2, 3, 5, 9}), "at most two of each");
    expect(rows.offsets == Ids({0, 2, 2, 4}), "offsets");
    expect(wordpiece.encode({}, 2).offsets == Ids({0}), "no texts");
    expect(wordpiece.encode(texts, 0).ids.empty(), "no tokens");
}

void bad_vocabularies_are_named() {
    const std::vector<std::string> twice = {"a", "b", "a"};
    expect_error([&] { WordPiece(twice, {}); }, "piece \"a\" is empty or comes twice");
    expect_error([&] { WordPiece(twice, {.unknown = 3}); }, "unknown is 3, outside the 3 pieces");
    expect_error([&] { WordPiece(pieces, {.unknown = 1, .max_word_characters = 300}); }, "at most 256 are allowed");
}

}  // namespace

int main() {
    words_are_split_into_the_longest_pieces();
    punctuation_is_a_word_of_its_own();
    what_no_pieces_make_up_is_unknown();
    controls_are_dropped_on_request();
    rows_are_cut_and_stay_apart();
    bad_vocabularies_are_named();
}
