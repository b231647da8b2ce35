"""A vocabulary of our own for the student."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

PADDING = "[PAD]"
UNKNOWN = "[UNK]"


def train_vocabulary(texts: Iterable[str], size: int) -> Tokenizer:
    """A WordPiece tokenizer over lower-cased words; padding has id 0.

    Lower-casing is the only normalisation: BERT's full one (accents, control and CJK characters) takes as long as all
    the rest of tokenising together, and a vocabulary trained on the same form does not need it.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[PADDING, UNKNOWN],
        limit_alphabet=2000,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Unknown text is text all the same: the marker of an unknown word must not be writable by a user.
    tokenizer.encode_special_tokens = True
    return tokenizer
