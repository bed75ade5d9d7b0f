from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import TOKENIZED_PROMPT, PromptTokens, TokenizedPrompt
from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest
from epp.plugins.scorers.context_length_aware import ContextLengthAware, ContextLengthAwareParams
from tests.fakes import make_endpoint, make_handle, make_request

LABEL = "llm-d.ai/context-length-range"


def make(*, filters: bool = False) -> ContextLengthAware:
    return ContextLengthAware(ContextLengthAwareParams(enable_filtering=filters), make_handle())


def ask(tokens: int | None) -> InferenceRequest:
    request = make_request(None)
    if tokens is not None:
        prompts = (PromptTokens(bytes(4 * (tokens // 2))), PromptTokens(bytes(4 * -(-tokens // 2))))
        request.data.set(TOKENIZED_PROMPT.of(), TokenizedPrompt(prompts))
    return request


def labelled(text: str | None) -> Endpoint:
    return make_endpoint(str(text), labels={} if text is None else {LABEL: text})


@pytest.mark.parametrize(
    ("text", "tokens", "score"),
    [
        (None, 100, 0.5),
        ("0-10000", 0, 0.3 + 0.7 * (0.35 + 0.3)),
        ("0-10000", 5000, 0.3 + 0.7 * (0.35 + 0.15)),
        ("0-10000", 10000, 0.3 + 0.7 * 0.35),
        ("0-10000", None, 0.3 + 0.7 * (0.35 + 0.3)),
        (" 0 - 10000 ", 10000, 0.3 + 0.7 * 0.35),
        ("0-10000", 11000, 0.15),
        ("2000-3000", 1000, 0.15),
        ("2000-3000", 1999, 0.3 / 1.001),
        ("7-7", 7, 1.0),
        ("7-7", 8, 0.3 / 1.001),
    ],
)
def test_the_score_tells_how_well_a_range_fits(
    text: str | None, tokens: int | None, score: float
) -> None:
    assert make().score(ask(tokens), [labelled(text)]) == pytest.approx([score])


MALFORMED = ["", "-", "5", "1-2-3", "a-b", "3-2", "-1-2", "1.5-2", "٣-٤", "0-" + "9" * 5000]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_range_is_nothing_to_prefer_or_keep(text: str) -> None:
    assert make().score(ask(1), [labelled(text)]) == [0.0]
    assert list(make(filters=True).filter(ask(1), [labelled(text)])) == []


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        (0, ["None", "0-10"]),
        (10, ["None", "0-10", "10-20"]),
        (20, ["None", "10-20"]),
        (21, ["None"]),
        (None, ["None", "0-10"]),
    ],
)
def test_the_filter_keeps_ranges_with_the_length_and_those_without_one(
    tokens: int | None, kept: list[str]
) -> None:
    endpoints = [labelled(text) for text in (None, "0-10", "10-20", "x")]
    assert [e.name for e in make(filters=True).filter(ask(tokens), endpoints)] == kept
    assert make().filter(ask(tokens), endpoints) == endpoints


def test_the_filter_may_leave_nobody() -> None:
    assert list(make(filters=True).filter(ask(50), [labelled("0-10")])) == []


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_inside_always_beats_outside(tokens: int, low: int, width: int, distance: int) -> None:
    inside = labelled(f"{max(0, tokens - low)}-{tokens + width}")
    outside = labelled(f"{tokens + 1 + distance}-{tokens + 1 + distance + width}")
    good, bad = make().score(ask(tokens), [inside, outside])
    assert 0.0 < bad < 0.3 < good <= 1.0
