from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.call import (
    STRIKES,
    PluginCall,
    PluginOverrunError,
    ask,
    calls,
    check_header,
    in_role,
    kept_and_removed,
    run,
)
from epp.core.endpoint import Endpoint
from epp.core.errors import EppError, ResourceExhaustedError
from epp.core.plugin import Filter, Plugin, Scorer
from tests.fakes import FakeProbe, endpoints, make_endpoint


class Counted(Plugin):
    """Counts its calls, and does what it is told to do."""

    type = "counted"

    def __init__(
        self, budget_seconds: float | None = None, raises: Exception | None = None
    ) -> None:
        self.budget_seconds = budget_seconds
        self.raises = raises
        self.times = 0

    def work(self, value: int) -> int:
        self.times += 1
        if self.raises is not None:
            raise self.raises
        return value


class World:
    """One plugin, called at one extension point."""

    def __init__(
        self, budget_seconds: float | None = None, raises: Exception | None = None
    ) -> None:
        self.probe = FakeProbe()
        self.plugin = Counted(budget_seconds, raises)
        self.call = PluginCall(self.plugin, "Point", self.probe)


@pytest.mark.parametrize("how", [run, ask])
def test_a_call_that_ends_well_is_timed_and_gives_what_it_returns(how: object) -> None:
    world = World()
    assert callable(how)
    assert how(world.call, world.plugin.work, 7) == 7
    assert world.probe.plugins == [("Point", "counted", "counted")]


@pytest.mark.parametrize("how", [run, ask])
@pytest.mark.parametrize("error", [ValueError("no"), KeyError(), TimeoutError(), StopIteration()])
def test_one_that_raises_gives_nothing_and_is_reported(how: object, error: Exception) -> None:
    world = World(raises=error)
    assert callable(how)
    assert how(world.call, world.plugin.work, 7) is None
    assert world.probe.calls == ["plugin_failed"]
    assert world.probe.plugin_failures == [("Point", "counted", "counted", error)]


def test_only_who_may_refuse_does() -> None:
    refusal = ResourceExhaustedError("full")
    world = World(raises=refusal)
    assert run(world.call, world.plugin.work, 7) is None
    assert world.probe.calls == ["plugin_failed"]
    with pytest.raises(EppError) as raised:
        ask(world.call, world.plugin.work, 7)
    assert raised.value is refusal
    assert world.probe.calls == ["plugin_failed", "plugin_ran"]


@pytest.mark.parametrize("how", [run, ask])
def test_a_plugin_that_keeps_exceeding_its_budget_is_called_no_more(how: object) -> None:
    world = World(budget_seconds=-1.0)  # no call is as fast as that
    assert callable(how)
    for _ in range(STRIKES + 5):
        how(world.call, world.plugin.work, 7)
    assert world.plugin.times == STRIKES
    assert world.call.is_aside
    assert len(world.probe.overruns) == STRIKES
    assert world.probe.set_aside == [("Point", "counted")]


def test_ten_calls_within_the_budget_forgive_one_over_it() -> None:
    world = World(budget_seconds=1.0)
    for _ in range(3 * STRIKES):
        world.call.ran(2.0)
        for _ in range(10):
            world.call.ran(1.0)
    assert not world.call.is_aside
    for _ in range(STRIKES):
        world.call.ran(2.0)
    assert world.call.is_aside


@given(st.lists(st.booleans(), max_size=60))
def test_nobody_is_set_aside_before_ten_strikes_or_after_fewer(overruns: list[bool]) -> None:
    world = World(budget_seconds=1.0)
    for is_over in overruns:
        world.call.ran(2.0 if is_over else 0.5)
    if sum(overruns) < STRIKES:
        assert not world.call.is_aside
    if all(overruns) and len(overruns) >= STRIKES:
        assert world.call.is_aside
    assert len(world.probe.set_aside) == world.call.is_aside


def test_without_a_budget_nobody_watches() -> None:
    world = World()
    for _ in range(5 * STRIKES):
        world.call.ran(1e9)
    assert world.probe.overruns == []
    assert not world.call.is_aside


@pytest.mark.parametrize(("budget", "strikes"), [(0.1, STRIKES), (50.0, STRIKES), (None, 0)])
def test_a_call_that_was_stopped_is_one_over_the_budget_whatever_the_budget_is(
    budget: float | None, strikes: int
) -> None:
    """A plugin without a budget called one that has; it is not to blame."""
    world = World(budget_seconds=budget, raises=PluginOverrunError(1.0))
    for _ in range(STRIKES):
        assert run(world.call, world.plugin.work, 7) is None
    assert world.probe.overruns == [("Point", "counted", 1.0)] * strikes
    assert len(world.probe.plugin_failures) == STRIKES
    assert world.probe.plugins == []
    assert world.call.is_aside == bool(strikes)


def test_a_plugin_that_takes_its_budget_away_is_watched_all_the_same() -> None:
    world = World(budget_seconds=1.0)
    world.plugin.budget_seconds = None
    for _ in range(STRIKES):
        world.call.ran(2.0)
    assert world.call.is_aside


def test_calls_come_in_the_order_of_their_plugins_and_know_their_names() -> None:
    first, second = Counted(), Counted()
    second.bind("other")
    made = calls([first, second], "Point", FakeProbe())
    assert [(call.plugin, call.name, call.point) for call in made] == [
        (first, "counted", "Point"),
        (second, "other", "Point"),
    ]


def test_a_plugin_may_fill_several_roles() -> None:
    class Both(Filter, Scorer):
        type = "both"

    both, other = Both(), Counted()
    assert in_role(Filter, [other, both]) == [both]
    assert in_role(Scorer, [both, other]) == [both]


A, B, C = ALL = tuple(endpoints(0, 0, 0))
COPY = make_endpoint("b", address="10.9.9.9")


@pytest.mark.parametrize(
    ("kept", "left", "removed"),
    [
        (ALL, (A, B, C), ()),
        ([A, B, C], (A, B, C), ()),
        ([], (), (A, B, C)),
        ([B], (B,), (A, C)),
        ([C, A], (A, C), (B,)),
        ([C, B, A], (A, B, C), ()),
        ([B, B], (B,), (A, C)),
        ([COPY], (B,), (A, C)),
        (iter([A]), (A,), (B, C)),
    ],
    ids=["all", "list", "none", "one", "order", "turned", "twice", "copy", "lazy"],
)
def test_what_is_kept_are_the_endpoints_as_they_were_given(
    kept: Sequence[Endpoint], left: tuple[Endpoint, ...], removed: tuple[Endpoint, ...]
) -> None:
    assert kept_and_removed(kept, ALL) == (left, removed)


@pytest.mark.parametrize("kept", [[make_endpoint("z")], [A, make_endpoint("z")]])
def test_nobody_keeps_an_endpoint_that_it_was_not_given(kept: list[Endpoint]) -> None:
    with pytest.raises(ValueError, match="not given"):
        kept_and_removed(kept, ALL)


@given(st.lists(st.sampled_from(ALL)))
def test_every_endpoint_is_either_kept_or_removed(kept: list[Endpoint]) -> None:
    left, removed = kept_and_removed(kept, ALL)
    assert set(map(id, left)) == set(map(id, kept))
    assert sorted([*left, *removed], key=lambda e: e.id) == list(ALL)


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-a", b"1"), (":path", b"/v1"), ("x_a.b", b""), ("x", b"a\xff"), ("x", b"a b\t")],
)
def test_what_http_allows_may_be_set(name: str, value: bytes) -> None:
    check_header(name, value)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("X-A", b"1", ValueError),
        ("", b"1", ValueError),
        ("x a", b"1", ValueError),
        ("x\n", b"1", ValueError),
        ("é", b"1", ValueError),
        ("x", b"a\r\nb: c", ValueError),
        ("x", b"\0", ValueError),
        ("x", "1", TypeError),
        ("x", None, TypeError),
        ("x", bytearray(b"1"), TypeError),
        (b"x", b"1", TypeError),
        (None, b"1", TypeError),
    ],
)
def test_anything_else_may_not(name: str, value: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_header(name, value)
