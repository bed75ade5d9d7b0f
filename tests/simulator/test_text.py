from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.simulator.text import FinishReason, echo, invent
from epp.simulator.tokens import tokenize


@given(st.integers(), st.integers(1, 400))
def test_an_answer_has_one_token_at_least_and_max_tokens_at_most(seed: int, limit: int) -> None:
    text = invent(Random(seed), limit, 1000, ignore_eos=False)
    assert 1 <= len(text.tokens) <= limit
    assert (text.finish_reason is FinishReason.LENGTH) == (len(text.tokens) == limit)


@given(st.integers(), st.integers(1, 60))
def test_without_a_limit_the_answer_fits_into_the_room(seed: int, room: int) -> None:
    assert 1 <= len(invent(Random(seed), None, room, ignore_eos=False).tokens) <= room


def test_ignoring_the_end_of_sequence_uses_every_token() -> None:
    text = invent(Random(1), 77, 1000, ignore_eos=True)
    assert (len(text.tokens), text.finish_reason) == (77, FinishReason.LENGTH)


def test_about_one_answer_in_seven_is_cut() -> None:
    random = Random(3)
    reasons = Counter(
        invent(random, 100, 1000, ignore_eos=False).finish_reason for _ in range(2000)
    )
    assert 0.11 < reasons[FinishReason.LENGTH] / 2000 < 0.19


@pytest.mark.parametrize("limit", [7, 100, 101, 102, 150, 400])
def test_every_length_up_to_the_limit_can_happen(limit: int) -> None:
    random = Random(4)
    seen = {len(invent(random, limit, 1000, ignore_eos=False).tokens) for _ in range(8000)}
    assert min(seen) == 1
    assert {limit - 1, limit} <= seen


def test_invented_text_counts_as_many_tokens_as_it_says() -> None:
    text = invent(Random(5), 300, 1000, ignore_eos=True)
    assert len(tokenize("".join(text.tokens))) == 300


@pytest.mark.parametrize(
    ("limit", "reason"),
    [(None, FinishReason.STOP), (3, FinishReason.STOP), (2, FinishReason.LENGTH)],
)
def test_an_echo_is_never_cut(limit: int | None, reason: FinishReason) -> None:
    text = echo(["a ", "b"], limit)
    assert (text.tokens, text.finish_reason) == (["a ", "b"], reason)
