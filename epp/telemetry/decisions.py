"""The last decisions with their reasons: why did my request go there?

A record keeps a decision's result, which is frozen, and a few names; neither headers nor prompt nor
body, whatever refers to them. It is written out only when somebody asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from epp.core.clock import Clock
from epp.core.decision import Decision, ProfileRun, SchedulingResult
from epp.core.probe import Probe

DEFAULT_CAPACITY = 1000
MAX_TEXT = 128


class DecisionRecord(msgspec.Struct, frozen=True, eq=False):
    """What is kept of one decision; client's texts are cut to ``MAX_TEXT`` characters.

    ``time`` is in seconds since 1970.
    """

    request_id: str
    time: float
    incoming_model: str
    target_model: str
    destination: str
    result: SchedulingResult

    def render(self) -> dict[str, Any]:
        """The record in the words of JSON."""
        time = datetime.fromtimestamp(self.time, UTC).replace(tzinfo=None)
        return {
            "request_id": self.request_id,
            "time": f"{time.isoformat(timespec='milliseconds')}Z",
            "incoming_model": self.incoming_model,
            "target_model": self.target_model,
            "destination": self.destination,
            "primary_profile": self.result.primary,
            "profiles": [_profile(name, run) for name, run in self.result.profiles.items()],
        }


class DecisionLog(Probe):
    """Keeps the last ``capacity`` decisions."""

    def __init__(self, clock: Clock, capacity: int = DEFAULT_CAPACITY) -> None:
        self._clock = clock
        self._records: deque[DecisionRecord] = deque(maxlen=capacity)

    @property
    def capacity(self) -> int:
        """How many decisions are kept at most."""
        return self._records.maxlen or 0

    def decided(self, decision: Decision) -> None:
        request = decision.request
        self._records.append(
            DecisionRecord(
                request.request_id[:MAX_TEXT],
                self._clock.timestamp(),
                request.incoming_model[:MAX_TEXT],
                request.target_model[:MAX_TEXT],
                decision.destination,
                decision.result,
            )
        )

    def find(self, limit: int, request_id: str | None = None) -> list[DecisionRecord]:
        """At most ``limit`` records, newest first; with a request id only those of that request."""
        return list(islice(self._matching(request_id), limit))

    def render(self, limit: int, request_id: str | None = None) -> list[dict[str, Any]]:
        """What ``find`` finds, ready for JSON."""
        return [record.render() for record in self.find(limit, request_id)]

    def _matching(self, request_id: str | None) -> Iterator[DecisionRecord]:
        wanted = None if request_id is None else request_id[:MAX_TEXT]
        for record in reversed(self._records):
            if wanted is None or record.request_id == wanted:
                yield record


def _profile(name: str, run: ProfileRun | None) -> dict[str, Any]:
    """One profile's pass, ``without`` the plugins that had no say in it.

    One that failed has nothing but its name.
    """
    if run is None:
        return {"profile": name, "failed": True}
    scored = [endpoint.id for endpoint in run.scored]
    return {
        "profile": name,
        "candidates": [endpoint.id for endpoint in run.candidates],
        "filters": [
            {"plugin": ran.plugin, "removed": [endpoint.id for endpoint in ran.removed]}
            for ran in run.filters
        ],
        "scorers": [
            {
                "plugin": ran.plugin,
                "weight": ran.weight,
                "scores": dict(zip(scored, ran.scores, strict=False)),
            }
            for ran in run.scorers
        ],
        "totals": dict(zip(scored, run.totals, strict=False)),
        "picker": run.picker,
        "picked": [endpoint.id for endpoint in run.picked],
        "without": list(run.failed),
    }
