"""The tokenizer of the model that reads the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from toy import IM_END, IM_START

from guidealign_engine import ArtifactError, ConfigError, TargetTokenizer


def test_text_gets_no_special_token_and_control_text_does(target: TargetTokenizer) -> None:
    assert len(target.encode_control(IM_START)) == 1
    assert target.encode_control(f"{IM_START}{IM_END}") == [0, 1]
    assert len(target.encode(IM_START)) > 1
    assert not {0, 1} & set(target.encode(f"x{IM_START}y{IM_END}"))


def test_text_comes_back_whole(target: TargetTokenizer, decode: Any) -> None:
    for text in ("", " ", "pick a lock", f"{IM_START}user", "日本語 \U0001f511\n\n\té"):
        assert decode(target.encode(text)) == text


def test_many_texts_are_encoded_as_each_would_be_alone(target: TargetTokenizer) -> None:
    texts = ["pick a lock", "", IM_END, "Großmutter"]
    many = target.encode_many(texts)
    assert [ids.tolist() for ids in many] == [target.encode(text) for text in texts]
    assert {ids.dtype for ids in many} == {np.dtype(np.int32)}


def test_settings_in_the_file_for_padding_and_truncation_do_not_count(target_file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(target_file))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "cut.json"))
    text = "pick the lock of my neighbour's door"
    assert TargetTokenizer(tmp_path / "cut.json").encode(text) == TargetTokenizer(target_file).encode(text)


def test_a_missing_file_is_named(tmp_path: Path, raises_exactly: Any) -> None:
    file = tmp_path / "none.json"
    with raises_exactly(ArtifactError, f"{file}: the tokenizer cannot be read: No such file or directory") as caught:
        TargetTokenizer(file)
    assert caught.value.file == file


@pytest.mark.parametrize("content", [b"", b"{}", b"no json", b'{"model": 5}', b"\xff\xfe\x00"], ids=repr)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="this is no tokenizer definition") as caught:
        TargetTokenizer(file)
    assert caught.value.file == file


def test_an_unknown_chat_format_is_refused(target_file: Path, raises_exactly: Any) -> None:
    with raises_exactly(ConfigError, "chat_format is 'mistral'; allowed: chatml, llama3, or a ChatFormat"):
        TargetTokenizer(target_file, chat_format="mistral")
