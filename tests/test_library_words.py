"""Words, scripts and word differences, on which the figures of a library rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine.offline.guidelines.word_diff import Edit, Segment, word_diff
from guidealign_engine.offline.guidelines.words import has_letters_beyond_ascii, script_of, words

TEXTS = st.text(alphabet="ab ,.\n-'鍵をकि", max_size=30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("— … !", []),
        ("Don’t stop; it's a well-known “trick”!", ["don't", "stop", "it's", "a", "well-known", "trick"]),
        ("e-mails/letters—both", ["e-mails", "letters", "both"]),
        ("鍵を", ["鍵", "を"]),
        ("हिन्दी में।", ["हिन्दी", "में"]),
        ("2.5 %", ["2.5"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "script", "beyond_ascii"),
    [
        ("plain “text” 🙂", "Latin", False),
        ("café", "Latin", True),
        ("42 !", "none", False),
        ("日本語のテキスト", "Japanese", True),
        ("为什么", "Chinese", True),
        ("نص عربي ok", "Arabic", True),
        ("ＦＵＬＬ", "Latin", True),
    ],
)
def test_scripts(text: str, script: str, beyond_ascii: bool) -> None:
    assert script_of(text) == script
    assert has_letters_beyond_ascii(text) is beyond_ascii


@given(TEXTS)
def test_words_are_trimmed_and_never_blank(text: str) -> None:
    for word in words(text):
        assert word == word.strip(" ,.\n-'")
        assert word
        assert word in text


def test_a_word_diff_keeps_runs_together() -> None:
    assert word_diff("Refuse to plan, price or refine it.", "Decline to plan or refine it now.") == [
        Segment(Edit.REMOVED, "Refuse"),
        Segment(Edit.ADDED, "Decline"),
        Segment(Edit.SAME, " to plan"),
        Segment(Edit.REMOVED, ", price"),
        Segment(Edit.SAME, " or refine it"),
        Segment(Edit.ADDED, " now"),
        Segment(Edit.SAME, "."),
    ]


def test_chinese_and_japanese_differ_by_character() -> None:
    assert [one.text for one in word_diff("鍵を開ける", "鍵を閉ける") if one.edit is not Edit.SAME] == ["開", "閉"]


@given(TEXTS, TEXTS)
def test_a_word_diff_holds_both_texts(before: str, after: str) -> None:
    segments = word_diff(before, after)
    assert "".join(one.text for one in segments if one.edit is not Edit.ADDED) == before
    assert "".join(one.text for one in segments if one.edit is not Edit.REMOVED) == after
    assert [one.edit for one in word_diff(before, before)] == [Edit.SAME] * bool(before)
