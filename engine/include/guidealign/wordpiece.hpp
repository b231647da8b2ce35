#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guidealign/token_rows.hpp"

namespace guidealign {

struct WordPieceOptions {
    std::int32_t unknown = 0;               ///< the id of a word that no pieces make up
    std::size_t max_word_characters = 100;  ///< longer words are unknown
    bool drops_controls = false;            ///< removes control characters first, as BERT's own normaliser does
};

/// WordPiece tokenisation (Schuster and Nakajima, 2012; BERT's form of it) of ASCII text: lower case, words end at
/// white space, every punctuation mark is a word, and each word is split into the longest pieces from its start.
///
/// It gives the ids that Hugging Face tokenizers gives for a WordPiece model with a lower-casing normaliser and the
/// BERT pre-tokeniser, some ten times faster; other text is that library's. Calls may overlap.
class WordPiece {
  public:
    /// pieces: piece i has id i; those that continue a word begin with "##".
    /// Throws std::invalid_argument for an `unknown` outside the pieces, a piece that comes twice, and words that may
    /// be longer than `longest_word`.
    WordPiece(std::span<const std::string> pieces, const WordPieceOptions& options);

    static constexpr std::size_t longest_word = 256;

    /// Tokens of each text, the first `max_tokens` of it. Every byte must be below 128.
    [[nodiscard]] TokenRows encode(std::span<const std::string_view> texts, std::size_t max_tokens) const;

  private:
    /// Pieces by their letters: open addressing, and the letters of all of them in one string.
    class PieceTable {
      public:
        void reserve(std::size_t pieces);
        /// False when the piece is there already.
        [[nodiscard]] bool add(std::string_view piece, std::int32_t id);
        /// Starts to bring the place of a piece with this hash into the cache.
        void prefetch(std::uint64_t hash) const;
        /// Length and id of the longest piece that the text starts with; length 0 without one.
        [[nodiscard]] std::pair<std::size_t, std::int32_t> longest_start(std::string_view text) const;

      private:
        struct Slot {
            std::uint32_t hash = 0;
            std::int32_t id = 0;
            std::uint32_t begin = 0;
            std::uint32_t size = 0;  ///< 0 marks a free slot
        };

        [[nodiscard]] const Slot& find(std::string_view piece, std::uint64_t hash) const;

        std::vector<Slot> slots_;
        std::string letters_;
        std::size_t longest_ = 0;
    };

    enum class ByteClass : std::uint8_t { word, space, punctuation, dropped };

    /// Words of a text, end to end.
    struct Words {
        std::string letters;
        std::vector<std::size_t> ends;

        [[nodiscard]] std::size_t begin(std::size_t word) const { return word == 0 ? 0 : ends[word - 1]; }
        [[nodiscard]] std::string_view operator[](std::size_t word) const {
            return std::string_view(letters).substr(begin(word), ends[word] - begin(word));
        }
    };

    void read_words(std::string_view text, std::size_t most, Words& words) const;
    void encode_word(std::string_view word, std::vector<std::int64_t>& ids) const;

    WordPieceOptions options_;
    std::array<ByteClass, 128> classes_{};
    PieceTable starts_;
    PieceTable continuations_;
};

}  // namespace guidealign
