"""A thin BERT over the student's vocabulary: states averaged over tokens, projected, of unit length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.vocabulary import PADDING, UNKNOWN

POSITIONS = 512
_HEAD = 32
# Words outweigh positions, which begin with a deviation of 0.02, and keep their lengths relative to each other.
_WORD_DEVIATION = 0.1


class ThinBert(nn.Module):
    """Token ids to unit vectors."""

    def __init__(self, table: NDArray[np.float32], *, layers: int, width: int, seed: int) -> None:
        """table: what the teacher makes of each token, float32 (vocabulary, dimension).

        Word vectors begin as the table's leading `width` directions, and the projection as the way back, so that the
        untrained network already is somewhat like a sum of the table's rows. Raises ConfigError for a width that
        heads of 32 do not divide, and for no layers.
        """
        super().__init__()
        if width < _HEAD or width % _HEAD or layers < 1:
            raise ConfigError(f"layers is {layers} and width {width}; give 1 layer or more, and a multiple of {_HEAD}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.bert = BertModel(
                BertConfig(
                    vocab_size=len(table),
                    hidden_size=width,
                    num_hidden_layers=layers,
                    num_attention_heads=width // _HEAD,
                    intermediate_size=4 * width,
                    max_position_embeddings=POSITIONS,
                    hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0,
                ),
                add_pooling_layer=False,
            )
            self.projection = nn.Linear(width, table.shape[1], bias=False)
        self._begin_with(table, width)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """ids, mask: int64 (texts, length) -> float32 (texts, dimension); any direction for a text without tokens."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].to(states.dtype)
        mean = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        return nn.functional.normalize(self.projection(mean).float(), dim=1)

    def sentence_model(self, tokenizer: Tokenizer, folder: Path) -> SentenceTransformer:
        """The same network of sentence-transformers' modules; `folder` is for files that they are read from."""
        self.bert.save_pretrained(folder)
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token=PADDING, unk_token=UNKNOWN, model_max_length=POSITIONS
        ).save_pretrained(folder)
        dimension, width = self.projection.weight.shape
        dense = Dense(width, dimension, bias=False, activation_function=nn.Identity())
        dense.linear.load_state_dict(self.projection.state_dict())
        modules = [
            Transformer(str(folder), max_seq_length=POSITIONS, model_kwargs={"add_pooling_layer": False}),
            Pooling(width, pooling_mode="mean"),
            dense,
            Normalize(),
        ]
        return SentenceTransformer(modules=modules, device="cpu")

    def _begin_with(self, table: NDArray[np.float32], width: int) -> None:
        directions = np.linalg.svd(table.T @ table)[0][:, :width].astype(np.float32)
        words = table @ directions
        words *= _WORD_DEVIATION / max(float(words.std()), 1e-12)
        kept = directions.shape[1]
        with torch.no_grad():
            self.bert.embeddings.word_embeddings.weight[:, :kept] = torch.from_numpy(words)
            self.projection.weight[:, :kept] = torch.from_numpy(directions)
