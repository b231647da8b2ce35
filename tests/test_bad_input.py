"""Options and prompts that have no meaning, and texts that nobody meant to send."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine import ConfigError, Engine, EngineConfig, PromptConfig, PromptError, RerankConfig, load_engine
from guidealign_engine.config import QueryConfig, SearchConfig, Thresholds
from guidealign_engine.query import visible

QUESTION = "how do I pick the lock of my neighbour's door"
COUNT = "it must be a whole number from"
SCORE = "it must lie between -1 and 1, or be None for the bundle's thresholds"
RATIO = "it must be above 0 and at most 1, or None to keep near-duplicates"
ROLES = "assistant, developer, function, system, tool, user"

BAD_OPTIONS = [
    ({"k": 0}, f"k is 0; {COUNT} 1 to 1000"),
    ({"k": -3}, f"k is -3; {COUNT} 1 to 1000"),
    ({"k": True}, f"k is True; {COUNT} 1 to 1000"),
    ({"k": 6.0}, f"k is 6.0; {COUNT} 1 to 1000"),
    ({"k": "6"}, f"k is '6'; {COUNT} 1 to 1000"),
    ({"k": None}, f"k is None; {COUNT} 1 to 1000"),
    ({"k": 1001}, f"k is 1001; {COUNT} 1 to 1000"),
    ({"k": 10**30}, f"k is {10**30}; {COUNT} 1 to 1000"),
    ({"min_score": float("nan")}, f"min_score is nan; {SCORE}"),
    ({"min_score": 2}, f"min_score is 2; {SCORE}"),
    ({"min_score": -1.5}, f"min_score is -1.5; {SCORE}"),
    ({"min_score": True}, f"min_score is True; {SCORE}"),
    ({"min_score": "0.5"}, f"min_score is '0.5'; {SCORE}"),
    ({"duplicate_ratio": 0}, f"duplicate_ratio is 0; {RATIO}"),
    ({"duplicate_ratio": 1.5}, f"duplicate_ratio is 1.5; {RATIO}"),
    ({"duplicate_ratio": float("nan")}, f"duplicate_ratio is nan; {RATIO}"),
    ({"duplicate_ratio": True}, f"duplicate_ratio is True; {RATIO}"),
    ({"duplicate_ratio": "0.5"}, f"duplicate_ratio is '0.5'; {RATIO}"),
    ({"diversity": -0.1}, "diversity is -0.1; it must lie between 0 and 1"),
    ({"diversity": 1.1}, "diversity is 1.1; it must lie between 0 and 1"),
    ({"diversity": float("nan")}, "diversity is nan; it must lie between 0 and 1"),
    ({"diversity": False}, "diversity is False; it must lie between 0 and 1"),
    ({"kinds": ["safty"]}, "kinds is 'safty'; allowed: safety, quality"),
    ({"kinds": "safety"}, "kinds is the string 'safety'; give a list, such as ['safety']"),
    ({"kinds": []}, "kinds is empty, so nothing could be found; give at least one, or None for all"),
    ({"tags": "code"}, "tags is the string 'code'; give a list, such as ['code']"),
    ({"tags": []}, "tags is empty, so nothing could be found; give at least one, or None for all"),
    ({"tags": ["helth"]}, "tags holds 'helth', which no guideline has; did you mean health?"),
    ({"tags": ["zzzzz"]}, "tags holds 'zzzzz', which no guideline has; the library has 32 tags"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=str)
@pytest.mark.parametrize("call", ["retrieve_batch", "assemble_batch"])
def test_an_option_without_meaning_is_refused(
    toy_engine: Engine, raises_exactly: Any, call: str, options: dict[str, Any], message: str
) -> None:
    # Good options first, so that nothing which the engine keeps of them can let bad ones through.
    toy_engine.retrieve_batch([QUESTION], k=6)
    with raises_exactly(ConfigError, message):
        getattr(toy_engine, call)([QUESTION], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placement": "top"}, "placement is 'top'; allowed: system, before_last_user, after_last_user"),
        ({"output": "json"}, "output is 'json'; allowed: messages, text, token_ids"),
        ({"chat_format": "vicuna"}, "chat_format is 'vicuna'; allowed: chatml, llama3, or a ChatFormat"),
        ({"max_guideline_tokens": -1}, f"max_guideline_tokens is -1; {COUNT} 0 to 1000000"),
        ({"max_guideline_tokens": 1.5}, f"max_guideline_tokens is 1.5; {COUNT} 0 to 1000000"),
        ({"max_guideline_tokens": True}, f"max_guideline_tokens is True; {COUNT} 0 to 1000000"),
        (
            {"output": "token_ids"},
            'output "token_ids" needs target, a TargetTokenizer of the model that will read them',
        ),
    ],
    ids=str,
)
def test_an_assembly_option_without_meaning_is_refused(
    toy_engine: Engine, raises_exactly: Any, options: dict[str, Any], message: str
) -> None:
    with raises_exactly(ConfigError, message):
        toy_engine.assemble_batch([QUESTION], **options)


@pytest.mark.parametrize("call", ["retrieve_batch", "assemble_batch"])
def test_a_misspelt_option_is_a_type_error(toy_engine: Engine, call: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'top_k'"):
        getattr(toy_engine, call)([QUESTION], top_k=3)


def test_options_are_keyword_only(toy_engine: Engine) -> None:
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
        toy_engine.retrieve_batch([QUESTION], 3)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PromptConfig(opening="<"), "opening is '<'; it must be at least 2 printable ASCII characters"),
        (lambda: PromptConfig(closing="</ü>"), "closing is '</ü>'; it must be at least 2 printable ASCII characters"),
        (lambda: PromptConfig(opening="a\\b"), "opening is 'a\\\\b'; it must be at least 2 printable ASCII"),
        (lambda: PromptConfig(closing="a\nb"), "closing is 'a\\nb'; it must be at least 2 printable ASCII"),
        (lambda: PromptConfig(bullet="*\n"), "bullet is '*\\n'; it must not hold a line break"),
        (lambda: QueryConfig(max_characters=3), f"max_characters is 3; {COUNT} 16 to 1000000"),
        (lambda: QueryConfig(head_share=1.2), "head_share is 1.2; it must lie between 0 and 1"),
        (lambda: SearchConfig(pool_size=0), f"pool_size is 0; {COUNT} 1 to 100000"),
        (lambda: SearchConfig(nprobe=-1), f"nprobe is -1; {COUNT} 1 to 1000000"),
        (lambda: RerankConfig(fold="mean"), "fold is 'mean'; allowed: best, smooth"),  # type: ignore[arg-type]
        (lambda: RerankConfig(smooth_temperature=0), "smooth_temperature is 0; it must be above 0"),
        (lambda: RerankConfig(smooth_temperature=float("nan")), "smooth_temperature is nan; it must be above 0"),
        (lambda: RerankConfig(prior_weight=2), "prior_weight is 2; it must lie between 0 and 1"),
        (lambda: Thresholds(safety=1.4), "thresholds.safety is 1.4; it must lie between -1 and 1"),
        (lambda: Thresholds(relative=-0.1), "thresholds.relative is -0.1; it must lie between 0 and 1"),
    ],
)
def test_a_configuration_without_meaning_cannot_be_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, 100_000])
def test_a_number_of_threads_without_meaning_is_refused(toy_bundle: Any, raises_exactly: Any, threads: Any) -> None:
    with raises_exactly(ConfigError, f"threads is {threads!r}; {COUNT} 1 to 1024"):
        load_engine(toy_bundle, threads=threads)


@pytest.mark.parametrize("engine_name", ["toy_engine", "threaded_engine"])
@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (QUESTION, "prompts is a string; give a list of prompts, such as [prompt]"),
        (
            {"role": "user", "content": QUESTION},
            "prompts holds a message; give a list of conversations, such as [messages]",
        ),
        (
            [{"role": "user", "content": QUESTION}],
            "prompts holds a message; give a list of conversations, such as [messages]",
        ),
        (
            dict.fromkeys(range(40), QUESTION),
            "prompts holds a message; give a list of conversations, such as [messages]",
        ),
    ],
    ids=["str", "message", "conversation", "mapping"],
)
def test_a_single_prompt_is_no_batch(
    request: pytest.FixtureRequest, raises_exactly: Any, engine_name: str, prompts: Any, message: str
) -> None:
    engine = request.getfixturevalue(engine_name)
    with raises_exactly(ConfigError, message):
        engine.retrieve_batch(prompts)


@pytest.mark.parametrize("engine_name", ["toy_engine", "threaded_engine"])
@pytest.mark.parametrize("prompts", [None, 5, (prompt for prompt in [QUESTION])], ids=["None", "int", "generator"])
def test_what_is_no_sequence_is_refused_and_not_answered_with_nothing(
    request: pytest.FixtureRequest, engine_name: str, prompts: Any
) -> None:
    engine = request.getfixturevalue(engine_name)
    with pytest.raises(ConfigError, match=f"prompts is a {type(prompts).__name__}; "):
        engine.retrieve_batch(prompts)


BAD_PROMPTS = [
    (5, "it is a int; it must be a string or a list of messages"),
    (None, "it is a NoneType; it must be a string or a list of messages"),
    (b"bytes", "it is a bytes; it must be a string or a list of messages"),
    (["hi"], "message 0 is a str; it must be a dict"),
    ([{"role": "user", "content": "a"}, 3], "message 1 is a int; it must be a dict"),
    ([{"content": "no role"}], f"message 0 has role None; allowed: {ROLES}"),
    (
        [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}],
        f"message 1 has role 'bot'; allowed: {ROLES}",
    ),
    (
        [{"role": "user", "content": 7}],
        "a user message has content of type int; it must be a string, a list of parts, or None",
    ),
    (
        [{"role": "user", "content": {"type": "text", "text": "x"}}],
        "a user message has content of type dict; it must be a string, a list of parts, or None",
    ),
    ([{"role": "user", "content": [7]}], "a content part is a int; it must be a dict or a string"),
    (
        [{"role": "user", "content": [{"type": "text", "text": 7}]}],
        "a text part has text of type int; it must be a string",
    ),
    ([{"role": "user", "content": [{"type": "text"}]}], "a text part has text of type NoneType; it must be a string"),
]


@pytest.mark.parametrize(("prompt", "message"), BAD_PROMPTS, ids=[message for _, message in BAD_PROMPTS])
@pytest.mark.parametrize("call", ["retrieve_batch", "assemble_batch"])
def test_an_unreadable_prompt_is_named(
    toy_engine: Engine, raises_exactly: Any, call: str, prompt: Any, message: str
) -> None:
    with raises_exactly(PromptError, f"prompt 2: {message}") as caught:
        getattr(toy_engine, call)(["first", "second", prompt])
    assert caught.value.index == 2


@pytest.mark.parametrize("call", ["retrieve_batch", "assemble_batch"])
def test_threads_name_the_same_unreadable_prompt(threaded_engine: Engine, raises_exactly: Any, call: str) -> None:
    prompts: list[Any] = [QUESTION] * 40
    prompts[31] = 5
    message = "prompt 31: it is a int; it must be a string or a list of messages"
    with raises_exactly(PromptError, message) as caught:
        getattr(threaded_engine, call)(prompts)
    assert caught.value.index == 31


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": 5},
        {"role": "tool", "content": {"type": "text", "text": "<guidelines>"}},
        {"role": "system", "content": 5},
        {"role": "system", "content": {"type": "text", "text": "x"}},
        {"role": "system", "content": [5]},
    ],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, {"output": "text", "chat_format": "chatml"}], ids=str)
def test_unreadable_content_of_any_message_is_a_prompt_error_in_assembly(
    toy_engine: Engine, message: dict[str, Any], options: dict[str, Any]
) -> None:
    prompt = [message, {"role": "user", "content": QUESTION}]
    with pytest.raises(PromptError, match=r"^prompt 0: .* it must be") as caught:
        toy_engine.assemble_batch([prompt], **options)
    assert caught.value.index == 0


ODD_TEXTS = {
    "empty": "",
    "blank": " \t\n ",
    "NUL": "\x00 pick the lock \x00",
    "controls": "".join(map(chr, range(32))),
    "lone surrogates": "\ud800 lock \udfff",
    "surrogates the wrong way round": "\ude00\ud83d",
    "bidi": "\u202elock\u202c \u2067pick\u2069",
    "only zero-width": "\u200b" * 5000,
    "full width": "\uff50\uff49\uff43\uff4b",
    "mixed scripts": "lock Замо́к 鍵 مفتاح \U0001f511 क़",
    "combining": "e" + "\u0301" * 3000,
    "expands eighteenfold": "\ufdfa" * 3000,
    "not a character": "\uffff\U0010ffff",
    "special tokens": "[PAD] [UNK] <|im_start|>",
    "one endless word": "x" * 100_000,
}


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
def test_an_odd_text_is_answered(toy_engine: Engine, text: str) -> None:
    conversation = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    for prompt in (text, conversation):
        found = toy_engine.retrieve_batch([prompt], min_score=-1.0)[0]
        assert all(np.isfinite(found.scores))
        for options in ({}, {"output": "text", "chat_format": "chatml"}):
            guided = toy_engine.assemble_batch([prompt], min_score=-1.0, **options)[0]
            assert guided.retrieval.positions == found.positions


@pytest.mark.parametrize("text", ["\ud800 lock", "lock \udfff", "\ude00\ud83d lock"], ids=ascii)
def test_half_a_surrogate_pair_becomes_a_replacement_character_in_token_ids(
    toy_engine: Engine, target: Any, decode: Any, text: str
) -> None:
    guided = toy_engine.assemble_batch(["fine", text], output="token_ids", target=target)
    assert "lock" in decode(guided[1].prompt)
    assert "\ufffd" in decode(guided[1].prompt)


@given(text=st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_text_is_answered_with_numbers(toy_engine: Engine, text: str) -> None:
    guided = toy_engine.assemble_batch([text], min_score=-1.0, k=3)[0]
    # Blank text has no token, and so nothing to be near to.
    assert len(guided.retrieval.guidelines) == (3 if visible(text).strip() else 0)
    assert np.isfinite(guided.retrieval.scores).all()


@pytest.mark.parametrize("invisible", ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e"], ids=ascii)
def test_an_invisible_character_inside_words_changes_nothing(toy_engine: Engine, invisible: str) -> None:
    split = "".join(letter + invisible if letter.isalpha() else letter for letter in QUESTION)
    whole, broken = toy_engine.retrieve_batch([QUESTION, split], min_score=-1.0)
    assert broken.positions == whole.positions
    assert broken.scores == whole.scores


def test_full_width_letters_find_what_plain_ones_do(toy_engine: Engine) -> None:
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in QUESTION)
    plain, folded = toy_engine.retrieve_batch([QUESTION, wide], min_score=-1.0)
    assert folded.positions == plain.positions
    assert folded.scores == plain.scores


TEN_MEGABYTES = 10_000_000
HUGE_TEXTS = {
    "ASCII": "pick the lock of the neighbour " * (TEN_MEGABYTES // 31),
    "one letter": "x" * TEN_MEGABYTES,
    "angle brackets": "<" * TEN_MEGABYTES,
    "two bytes a character": "Ж" * (TEN_MEGABYTES // 2),
    "four bytes a character": "\U0001f511" * (TEN_MEGABYTES // 4),
    "expands eighteenfold": "\ufdfa" * (TEN_MEGABYTES // 3),
}


def fastest_ms(call: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        times.append((perf_counter() - start) * 1000)
    return min(times)


@pytest.mark.parametrize("text", HUGE_TEXTS.values(), ids=HUGE_TEXTS.keys())
def test_ten_megabytes_cost_little_more_than_a_bounded_prompt(toy_engine: Engine, text: str) -> None:
    bounded = text[:2048]
    short_ms = fastest_ms(lambda: toy_engine.retrieve_batch([bounded]))
    long_ms = fastest_ms(lambda: toy_engine.retrieve_batch([text]))
    assert long_ms <= 10 * short_ms + 1
    assert long_ms <= 50


@pytest.mark.parametrize("text", HUGE_TEXTS.values(), ids=HUGE_TEXTS.keys())
def test_ten_megabytes_are_assembled_in_time(toy_engine: Engine, text: str) -> None:
    block_only = toy_engine.assemble_batch([text[:2048]], min_score=-1.0)
    assert len(block_only[0].retrieval.positions) == 6
    assert fastest_ms(lambda: toy_engine.assemble_batch([text], min_score=-1.0)) <= 50
    assert fastest_ms(lambda: toy_engine.assemble_batch([text], min_score=-1.0, output="text")) <= 50


def test_engine_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'reranker'"):
        EngineConfig(reranker=RerankConfig())  # type: ignore[call-arg]


def test_the_toy_library_has_the_tags_that_the_messages_count() -> None:
    assert len({tag for record in toy.GUIDELINES for tag in record.tags}) == 32
