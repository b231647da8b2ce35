"""A sentence-transformers model of one or two thin layers over the words of some texts, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sentence_transformers
import torch
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WIDTH = 32


def save_tiny_model(
    folder: Path,
    texts: Sequence[str],
    *,
    max_tokens: int = 64,
    positions: int = 128,
    layers: int = 2,
    deviation: float = 0.3,
    dropout: float = 0.1,
) -> str:
    """A BERT with [CLS] and [SEP] around a text; weights are random.

    Their deviation is larger than the usual 0.02, so that words matter; a model that is to be trained begins with that.
    """
    words = {word for text in texts for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text.lower())}
    letters = {letter for word in words for letter in word}
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({*words, *letters, *(f"##{letter}" for letter in letters)})]
    vocabulary = {piece: row for row, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=positions,
            initializer_range=deviation,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )
    bert.save_pretrained(folder / "bert")
    fast.save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert"), max_seq_length=max_tokens), Pooling(WIDTH, "mean"), Normalize()]
    sentence_transformers.SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return str(folder / "model")
