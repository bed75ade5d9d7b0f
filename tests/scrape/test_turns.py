from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.scrape.turns import Turns

INTERVAL = 10.0


def ring(*members: str) -> Turns[str]:
    """Members whose first turns are over."""
    turns: Turns[str] = Turns(INTERVAL)
    for member in reversed(members):
        turns.add(member)
    assert [turns.take() for _ in members] == list(members)
    turns.measure()
    return turns


def take_all(turns: Turns[str]) -> list[str]:
    taken = []
    while (member := turns.take()) is not None:
        taken.append(member)
    return taken


def test_turns_are_spread_over_the_interval_and_go_round() -> None:
    turns = ring("a", "b", "c", "d")
    taken = []
    for _ in range(10):
        turns.pass_time(INTERVAL / 4)
        taken.append(take_all(turns))
    assert taken == [[member] for member in "abcdabcdab"]
    assert turns.measure() == INTERVAL


def test_a_new_member_has_its_first_turn_at_once() -> None:
    turns = ring("a", "b")
    turns.add("c")
    assert take_all(turns) == ["c"]
    turns.pass_time(INTERVAL)
    assert take_all(turns) == ["a", "b", "c"]


def test_a_member_that_left_has_no_turn() -> None:
    turns = ring("a", "b", "c")
    turns.remove("b")
    turns.pass_time(INTERVAL)
    assert take_all(turns) == ["a", "c"]
    turns.remove("a")
    turns.remove("c")
    turns.pass_time(INTERVAL)
    assert take_all(turns) == []
    assert turns.measure() == INTERVAL


def test_nobody_has_more_than_one_turn_at_once() -> None:
    turns = ring("a", "b")
    turns.pass_time(7 * INTERVAL)
    assert take_all(turns) == ["a", "b"]
    assert turns.measure() == 7 * INTERVAL


def test_dropped_turns_make_the_interval_longer() -> None:
    turns = ring("a", "b", "c", "d")
    taken = []
    for _ in range(6):
        turns.pass_time(INTERVAL)
        taken += [turns.take(), turns.take()]
        turns.drop()
    assert taken == list("abcdabcdabcd")
    assert turns.measure() == pytest.approx(2 * INTERVAL)
    turns.pass_time(INTERVAL)
    assert take_all(turns) == list("abcd")
    turns.drop()
    assert turns.measure() == pytest.approx(INTERVAL)


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 3 * INTERVAL), st.integers(0, 30)), max_size=50),
)
def test_however_time_goes_by_everybody_has_as_many_turns(
    count: int, ticks: list[tuple[float, int]]
) -> None:
    names = [str(i) for i in range(count)]
    turns = ring(*names)
    counts = Counter(dict.fromkeys(names, 0))
    for seconds, most in ticks:
        turns.pass_time(seconds)
        for _ in range(most):
            if (member := turns.take()) is not None:
                counts[member] += 1
        turns.drop()
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(counts.values()) <= count * sum(s for s, _ in ticks) / INTERVAL + 1e-6
    assert turns.measure() >= INTERVAL
