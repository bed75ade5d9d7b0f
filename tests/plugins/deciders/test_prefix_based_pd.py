from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import (
    PREFIX_MATCH,
    TOKENIZED_PROMPT,
    PrefixMatch,
    PromptTokens,
    TokenizedPrompt,
)
from epp.core.request import InferenceRequest
from epp.plugins.deciders.prefix_based_pd import PrefixBasedPdDecider, PrefixBasedPdDeciderParams
from tests.fakes import endpoints, make_handle, make_request

A, B = endpoints(1, 2)
BLOCK_TOKENS = 16


def decider(
    non_cached_tokens: int = 0, prompt_tokens: int = 0, producer: str = ""
) -> PrefixBasedPdDecider:
    params = PrefixBasedPdDeciderParams(non_cached_tokens, prompt_tokens, producer)
    return PrefixBasedPdDecider(params, make_handle())


def prompt_of(tokens: int, cached_blocks: int | None = 0, producer: str = "") -> InferenceRequest:
    """A request for so many tokens, with so many blocks of them on endpoint a."""
    request = make_request()
    prompt = TokenizedPrompt((PromptTokens(b"\0" * 4 * tokens),))
    request.data.set(TOKENIZED_PROMPT.of(), prompt)
    if cached_blocks is not None:
        match = PrefixMatch(tokens // BLOCK_TOKENS, BLOCK_TOKENS * 4, {A.id: cached_blocks})
        request.data.set(PREFIX_MATCH.of(producer), match)
    return request


@pytest.mark.parametrize(
    ("new", "least", "tokens", "cached_blocks", "answer"),
    [
        (0, 0, 10_000, 0, False),
        (16, 0, 15, 0, False),
        (16, 0, 16, 0, True),
        (16, 0, 160, 10, False),
        (16, 0, 160, 9, True),
        (16, 0, 175, 10, False),
        (16, 0, 176, 10, True),
        (16, 100, 99, 0, False),
        (16, 100, 100, 0, True),
        (1, 0, 16, 2, False),
    ],
)
def test_enough_new_tokens_are_prefilled_elsewhere(
    new: int, least: int, tokens: int, cached_blocks: int, answer: bool
) -> None:
    assert decider(new, least).decide(prompt_of(tokens, cached_blocks), A) is answer


def test_only_what_the_decoding_endpoint_has_counts() -> None:
    request = prompt_of(160, 10)
    assert not decider(16).decide(request, A)
    assert decider(16).decide(request, B)


def test_the_configured_producer_is_read() -> None:
    request = prompt_of(160, 10, producer="precise")
    request.data.set(PREFIX_MATCH.of(), PrefixMatch(10, BLOCK_TOKENS * 4, {}))
    assert decider(16).decide(request, A)
    assert not decider(16, producer="precise").decide(request, A)
    assert decider(16, producer="precise").consumes == (
        PREFIX_MATCH.of("precise"),
        TOKENIZED_PROMPT.of(),
    )


def test_where_nothing_is_known_decode_does_everything() -> None:
    assert not decider(1).decide(prompt_of(160, None), A)
    assert not decider(1).decide(prompt_of(160, 0), None)
    assert not decider(1).decide(make_request(prompt=None), A)
    request = make_request()
    request.data.set(PREFIX_MATCH.of(), PrefixMatch(10, BLOCK_TOKENS * 4, {}))
    assert not decider(1).decide(request, A)


@given(st.integers(1, 100), st.integers(0, 300), st.integers(0, 20))
def test_a_cached_block_never_speaks_for_prefill_elsewhere(
    new: int, tokens: int, cached: int
) -> None:
    more = decider(new).decide(prompt_of(tokens, cached + 1), A)
    assert not more or decider(new).decide(prompt_of(tokens, cached), A)


def test_a_decider_that_never_says_yes_is_pointed_out() -> None:
    assert [key for key, _ in PrefixBasedPdDeciderParams().hints()] == ["nonCachedTokens"]
    assert list(PrefixBasedPdDeciderParams(non_cached_tokens=1).hints()) == []
