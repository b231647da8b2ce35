"""Guidelines in the answers of models: the forms that are read, what is no guideline, and the records made of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine.offline.guidelines.inputs import Input
from guidealign_engine.offline.guidelines.read_guidelines import MAX_GUIDELINES, read_guidelines_of
from guidealign_engine.offline.guidelines.write_guidelines import record_of

A, B = "Say plainly what is known about the matter.", "Leave numbers out where nobody can check them."
BOTH = [("Known matters", A), ("Numbers", B)]
JSON_A, JSON_B = f'{{"title": "Known matters", "text": "{A}"}}', f'{{"title": "Numbers", "text": "{B}"}}'


@pytest.mark.parametrize(
    "answer",
    [
        f"Known matters: {A}\nNumbers: {B}",
        f"Here are the guidelines:\n\n1. **Known matters**: {A}\n2. **Numbers:** {B}\n",
        f"- Known matters: {A}\n* Numbers: {B}",
        f"### Guideline 1: Known matters: {A}\nTitle: Numbers: {B}",
        f"**Known matters: {A}**\n**Numbers: {B}**",
        f"1. **Known matters** – {A}\n2. **Numbers** — {B}",
        f"Known matters： {A}\nNumbers： {B}",
        f"Known matters: {A}\nKnown matters: {A}\nNumbers: {B}",
        f"```\nKnown matters: {A}\nNumbers: {B}\n```",
        f"Known matters: {A}\n\nNumbers: {B}\n\nI hope that these guidelines help you!",
    ],
)
def test_lines_of_title_and_text_are_read(answer: str) -> None:
    assert read_guidelines_of(answer) == BOTH


@pytest.mark.parametrize(
    "answer",
    [
        f"**Known matters**\n{A}\n\n**Numbers**\n{B}",
        f"1. **Known matters**\n   {A}\n2. **Numbers**\n   {B}",
        f"**Known matters:**\n\n{A}\n\n**Numbers:**\n\n{B}\n\nI hope this helps!",
        f"## Known matters\n{A}\n## Numbers\n{B}",
        f"Title: Known matters\nText: {A}\n\nTitle: Numbers\nText: {B}",
        f"**Title:** Known matters\n**Text:** {A}\n\n**Title:** Numbers\n**Text:** {B}",
        f"1. Title: Known matters\n   Text: {A}\n2. Title: Numbers\n   Text: {B}",
        f"Guideline 1\nTitle: Known matters\nText: {A}\nGuideline 2\nTitle: Numbers\nText: {B}",
        f"**Guideline 1: Known matters**\n{A}\n**Guideline 2: Numbers**\n{B}",
        f"Known matters: {A[:25]}\n{A[26:]}\nNumbers: {B[:23]}\n{B[24:]}",
    ],
)
def test_a_text_may_stand_below_its_title_and_run_over_lines(answer: str) -> None:
    assert read_guidelines_of(answer) == BOTH


@pytest.mark.parametrize(
    "answer",
    [
        f'{{"guidelines": [{JSON_A}, {JSON_B}]}}',
        f'{{\n  "guidelines": [\n    {JSON_A},\n    {JSON_B}\n  ]\n}}',
        f"Sure!\n```json\n[{JSON_A}, {JSON_B}]\n```\nNote: these hold for all inputs of the kind, and always.",
        f"{JSON_A}\n{JSON_B}",
        f'{{"guidelines": [{JSON_A}, {JSON_B}, {{"title": "Cut", "text": "Say on',
    ],
)
def test_json_is_read_also_where_it_breaks_off(answer: str) -> None:
    assert read_guidelines_of(answer) == BOTH


@pytest.mark.parametrize(
    "thoughts", ["<think>Title: of all this I know little so far.</think>\n", "So: it is what it is.\n</think>"]
)
def test_thoughts_before_an_answer_are_no_part_of_it(thoughts: str) -> None:
    assert read_guidelines_of(f"{thoughts}Known matters: {A}\nNumbers: {B}") == BOTH
    assert read_guidelines_of(f"<think>Known matters: {A}\nNumbers: {B}") == []


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I can't help with writing that, for one reason: it would be harmful to people.",
        "As an AI language model, I must be clear: I cannot assist with this request at all.",
        "I will not. Instead: call the emergency number and stay with the person now.",
        "Unfortunately, no guideline fits: the request has nothing to do with it.",
        "Here are some guidelines for such requests: they keep everyone safe and sound.",
        "Note: these are general guidelines for all inputs of this kind.",
        "Sorry: no.",
        "",
        ": " + A,
        "1234: " + A,
        "A title of far more words than the seven that were asked for, in fact: " + A,
        '{"guidelines": []}',
        '{"guidelines": [{"title": 3, "text": null}, "x"]}',
        '{\n "guidelines": [\n {\n  "title": "Known matters",\n  "text": "Say plainly what is kno',
        "[" * 100_000,
        "{" * 100_000,
        '{"title":' * 30_000,
    ],
)
def test_a_refusal_a_preface_or_a_wreck_holds_no_guideline(answer: str) -> None:
    begin = time.monotonic()
    assert read_guidelines_of(answer) == []
    assert time.monotonic() - begin < 2.0


def test_a_guideline_that_was_cut_is_left_out() -> None:
    assert read_guidelines_of(f"Known matters: {A}\nNumbers: Leave numbers out whe", cut=True) == BOTH[:1]
    assert read_guidelines_of(f"Known matters: {A}\nNumbers: {B}", cut=True) == BOTH


def test_there_is_a_most_of_guidelines_in_an_answer() -> None:
    answer = "\n".join(f"Matter {chr(65 + number)}: {A}" for number in range(20))
    assert len(read_guidelines_of(answer)) == MAX_GUIDELINES


@given(st.text(alphabet=st.sampled_from('aB 1.:：-*#_`\n"{}[],<>/|think'), max_size=300))
def test_no_answer_breaks_the_reader(answer: str) -> None:
    for title, text in read_guidelines_of(answer):
        assert title == " ".join(title.split())
        assert text == " ".join(text.split())


def test_a_record_depends_on_its_texts_alone() -> None:
    asked = Input(text="how?", category="weapons", place="a file, line 1")
    record = record_of("Über Waffen & Co.", A, asked, unsafe=True, source="s")
    elsewhere = Input(text="how?", category="weapons", place="another, line 9")
    assert record == record_of("Über Waffen & Co.", A, elsewhere, unsafe=True, source="s")
    assert record.id.startswith("uber-waffen-co-")
    assert (record.kind, record.category, record.examples) == ("safety", "weapons", ("how?",))
    assert record_of("字", A, asked, unsafe=False, source="s").id.startswith("guideline-")
    assert record_of("字", A, asked, unsafe=False, source="s").kind == "quality"
    other = record_of("Über Waffen & Co.", A, Input(text="why?"), unsafe=True, source="s")
    assert other.id != record.id
