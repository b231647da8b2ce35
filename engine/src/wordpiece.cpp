#include "guidealign/wordpiece.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace guidealign {
namespace {

constexpr std::string_view continuing_prefix = "##";

// FNV-1a, so that one walk over a word gives the hashes of all its starts.
constexpr std::uint64_t hash_start = 0xCBF29CE484222325U;

constexpr std::uint64_t hash_next(std::uint64_t hash, char letter) {
    return (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3U;
}
/// The half of the hash that slots keep; the other one is the place in the table.
constexpr std::uint32_t kept_hash(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 32U);
}

constexpr char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + ('a' - 'A')) : letter;
}

constexpr bool is_space(unsigned byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}
constexpr bool is_punctuation(unsigned byte) {
    return (byte >= '!' && byte <= '/') || (byte >= ':' && byte <= '@') || (byte >= '[' && byte <= '`') ||
           (byte >= '{' && byte <= '~');
}
/// What BERT's normaliser removes: tab, line feed and carriage return are white space to it.
constexpr bool is_control(unsigned byte) {
    return (byte < ' ' || byte == 0x7F) && byte != '\t' && byte != '\n' && byte != '\r';
}

}  // namespace

void WordPiece::PieceTable::reserve(std::size_t pieces) {
    // At most half full, so that a search ends after a step or two.
    slots_.resize(std::bit_ceil(2 * pieces + 2));
}

bool WordPiece::PieceTable::add(std::string_view piece, std::int32_t id) {
    std::uint64_t hash = hash_start;
    for (const char letter : piece) hash = hash_next(hash, letter);
    if (find(piece, hash).size != 0) return false;
    std::size_t place = hash & (slots_.size() - 1);
    while (slots_[place].size != 0) place = (place + 1) & (slots_.size() - 1);
    slots_[place] = {kept_hash(hash), id, static_cast<std::uint32_t>(letters_.size()),
                     static_cast<std::uint32_t>(piece.size())};
    letters_ += piece;
    longest_ = std::max(longest_, piece.size());
    return true;
}

const WordPiece::PieceTable::Slot& WordPiece::PieceTable::find(std::string_view piece, std::uint64_t hash) const {
    std::size_t place = hash & (slots_.size() - 1);
    for (; slots_[place].size != 0; place = (place + 1) & (slots_.size() - 1)) {
        const Slot& slot = slots_[place];
        if (slot.hash != kept_hash(hash) || slot.size != piece.size()) continue;
        if (std::string_view(letters_).substr(slot.begin, slot.size) == piece) return slot;
    }
    return slots_[place];
}

void WordPiece::PieceTable::prefetch(std::uint64_t hash) const {
    __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]);
}

std::pair<std::size_t, std::int32_t> WordPiece::PieceTable::longest_start(std::string_view text) const {
    const std::size_t reach = std::min({text.size(), longest_, longest_word});
    std::array<std::uint64_t, longest_word> hashes;
    std::uint64_t hash = hash_start;
    for (std::size_t i = 0; i < reach; ++i) hashes[i] = hash = hash_next(hash, text[i]);
    for (std::size_t size = reach; size > 0; --size) {
        const Slot& slot = find(text.substr(0, size), hashes[size - 1]);
        if (slot.size != 0) return {size, slot.id};
    }
    return {0, 0};
}

WordPiece::WordPiece(std::span<const std::string> pieces, const WordPieceOptions& options) : options_(options) {
    if (options.unknown < 0 || static_cast<std::size_t>(options.unknown) >= pieces.size()) {
        throw std::invalid_argument("unknown is " + std::to_string(options.unknown) + ", outside the " +
                                    std::to_string(pieces.size()) + " pieces");
    }
    if (options.max_word_characters > longest_word) {
        throw std::invalid_argument("max_word_characters is " + std::to_string(options.max_word_characters) +
                                    "; at most " + std::to_string(longest_word) + " are allowed");
    }
    for (unsigned byte = 0; byte < classes_.size(); ++byte) {
        classes_[byte] = options.drops_controls && is_control(byte) ? ByteClass::dropped
                         : is_space(byte)                           ? ByteClass::space
                         : is_punctuation(byte)                     ? ByteClass::punctuation
                                                                    : ByteClass::word;
    }
    starts_.reserve(pieces.size());
    continuations_.reserve(pieces.size());
    for (std::size_t id = 0; id < pieces.size(); ++id) {
        const std::string_view piece = pieces[id];
        const bool continues = piece.starts_with(continuing_prefix) && piece != continuing_prefix;
        PieceTable& table = continues ? continuations_ : starts_;
        if (!table.add(continues ? piece.substr(continuing_prefix.size()) : piece, static_cast<std::int32_t>(id))) {
            throw std::invalid_argument("piece \"" + std::string(piece) + "\" is empty or comes twice");
        }
    }
}

TokenRows WordPiece::encode(std::span<const std::string_view> texts, std::size_t max_tokens) const {
    TokenRows rows;
    rows.offsets.reserve(texts.size() + 1);
    rows.offsets.push_back(0);
    Words words;
    for (const std::string_view text : texts) {
        const std::size_t end = rows.ids.size() + max_tokens;
        read_words(text, max_tokens, words);
        for (std::size_t word = 0; word < words.ends.size() && rows.ids.size() < end; ++word) {
            encode_word(words[word], rows.ids);
        }
        // The last word may cross the end.
        rows.ids.resize(std::min(rows.ids.size(), end));
        rows.offsets.push_back(static_cast<std::int64_t>(rows.ids.size()));
    }
    return rows;
}

/// The first `most` words of a text, in lower case. Most words are a piece, which comes closer meanwhile: the table is
/// larger than the cache that a request leaves to it, so that looking words up one after the other is mostly waiting.
void WordPiece::read_words(std::string_view text, std::size_t most, Words& words) const {
    words.letters.clear();
    words.ends.clear();
    std::uint64_t hash = hash_start;
    const auto end_word = [&] {
        if (words.letters.size() == words.begin(words.ends.size())) return;
        starts_.prefetch(hash);
        words.ends.push_back(words.letters.size());
        hash = hash_start;
    };
    for (const char letter : text) {
        const ByteClass kind = classes_[static_cast<unsigned char>(letter) & 0x7FU];
        if (kind == ByteClass::dropped) continue;
        if (kind != ByteClass::word) end_word();
        if (words.ends.size() >= most) return;
        if (kind == ByteClass::space) continue;
        words.letters += lower(letter);
        hash = hash_next(hash, words.letters.back());
        if (kind == ByteClass::punctuation) end_word();
    }
    end_word();
}

/// The longest piece first, as often as it takes; one start without a piece makes the whole word unknown.
void WordPiece::encode_word(std::string_view word, std::vector<std::int64_t>& ids) const {
    const std::size_t before = ids.size();
    bool is_known = word.size() <= options_.max_word_characters;
    const PieceTable* table = &starts_;
    while (is_known && !word.empty()) {
        const auto [size, id] = table->longest_start(word);
        is_known = size > 0;
        ids.push_back(id);
        word.remove_prefix(size);
        table = &continuations_;
    }
    if (!is_known) {
        ids.resize(before);
        ids.push_back(options_.unknown);
    }
}

}  // namespace guidealign
