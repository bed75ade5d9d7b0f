from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.affinity import bindings
from epp.affinity.bindings import MOST_BINDINGS, Bindings
from tests.fakes import FakeClock


def make(clock: FakeClock, ttl: float = 300.0, sweep: float = 10.0) -> Bindings:
    return Bindings(clock, ttl_seconds=ttl, sweep_seconds=sweep)


def test_a_session_is_bound_until_it_was_not_used_for_too_long() -> None:
    clock = FakeClock()
    bound = make(clock)
    assert bound.get("s") == ""
    bound.bind("s", "n/a")
    clock.advance(300)
    assert bound.get("s") == "n/a"
    bound.bind("s", "n/a")
    clock.advance(300)
    assert bound.get("s") == "n/a"
    clock.advance(0.1)
    assert bound.get("s") == ""


def test_what_has_ended_is_removed_at_most_every_so_often() -> None:
    clock = FakeClock()
    bound = make(clock, ttl=5)
    bound.bind("old", "n/a")
    clock.advance(6)
    bound.bind("new", "n/a")
    assert len(bound) == 2
    clock.advance(4)
    bound.bind("new", "n/b")
    assert len(bound) == 1
    assert bound.get("new") == "n/b"


def test_there_are_never_too_many_and_the_oldest_goes() -> None:
    bound = make(FakeClock())
    for i in range(MOST_BINDINGS):
        bound.bind(str(i), "n/a")
    bound.bind("0", "n/b")
    bound.bind("one more", "n/c")
    assert len(bound) == MOST_BINDINGS
    assert [bound.get(s) for s in ("0", "1", "2", "one more")] == ["n/b", "", "n/a", "n/c"]


@pytest.mark.parametrize("session", ["x" * 128, "x" * 129, "x" * 10_000, "\udcff" * 200])
def test_an_id_may_be_of_any_length_and_takes_bounded_memory(session: str) -> None:
    bound = make(FakeClock())
    bound.bind(session, "n/a")
    assert bound.get(session) == "n/a"
    assert bound.get(session + "y") == ""
    assert all(len(key) <= bindings.LONGEST_ID for key in bound._bound)


@given(
    st.lists(
        st.tuples(st.sampled_from("rstu"), st.sampled_from(["a", "b"]), st.floats(0, 9)),
        max_size=30,
    )
)
def test_sweeping_changes_nothing_that_anybody_sees(steps: list[tuple[str, str, float]]) -> None:
    clock = FakeClock()
    often, seldom = make(clock, ttl=10, sweep=0.001), make(clock, ttl=10, sweep=1e9)
    for session, endpoint_id, seconds in steps:
        often.bind(session, endpoint_id)
        seldom.bind(session, endpoint_id)
        clock.advance(seconds)
        assert [often.get(s) for s in "rstu"] == [seldom.get(s) for s in "rstu"]
