from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

from benchmarks.inside import Inside, completion, messages
from epp import garbage
from epp.core.errors import EppError


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_debug(0)
    gc.garbage.clear()
    gc.set_threshold(*thresholds)
    gc.enable()


def completed(inside: Inside) -> None:
    inside.request(messages(completion("word " * 1000)))


def broken_off(inside: Inside) -> None:
    inside.request(messages(completion("word " * 1000))[:4])


def refused(inside: Inside) -> None:
    stream, relay = inside.stream()
    headers, _, end, *_ = messages(b"")
    inside.feed(stream, relay, headers)
    try:
        inside.feed(stream, relay, end)  # an empty body is no JSON
    except EppError as error:
        stream.decided(error)
    else:
        pytest.fail("was not refused")
    stream.closed()


@pytest.mark.parametrize("work", [completed, broken_off, refused])
def test_a_request_is_freed_without_the_collector(work: Callable[[Inside], None]) -> None:
    inside = Inside()
    work(inside)
    gc.collect()
    gc.disable()
    for _ in range(3):
        work(inside)
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    assert [type(left) for left in gc.garbage] == []


def test_what_is_there_at_start_is_not_looked_at_again() -> None:
    garbage.settle()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == garbage.THRESHOLDS
    assert gc.isenabled()
