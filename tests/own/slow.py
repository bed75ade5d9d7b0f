"""Plugins that take their time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from epp.core.endpoint import Endpoint
from epp.core.plugin import Scorer
from epp.core.request import InferenceRequest
from epp.own.alarm import Alarm
from epp.own.limits import limit
from tests.fakes import endpoints, make_request

HARD = 0.02


class Mine(Scorer):
    """Does whatever a test wants."""

    type = "my-scorer"

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return self._work() or [1.0]


def mine(
    work: Callable[[], Any], hard: float = HARD, budget: float = 0.002, alarm: Alarm | None = None
) -> Mine:
    made = Mine(work)
    limit(made, budget, hard, alarm=alarm or Alarm())
    return made


def run(plugin: Scorer) -> Sequence[float]:
    return plugin.score(make_request(), endpoints(0))


def for_ever() -> None:
    while True:
        pass


def long_enough() -> None:
    """Longer than any timer here needs to go off."""
    end = monotonic() + 4 * HARD
    while monotonic() < end:
        pass
