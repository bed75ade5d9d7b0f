"""A decision together with its reasons."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest


class FilterRun(msgspec.Struct, frozen=True):
    """Which endpoints one filter removed."""

    plugin: str
    removed: tuple[Endpoint, ...]


class ScorerRun(msgspec.Struct, frozen=True):
    """What one scorer said: ``scores[i]`` (0..1, before the weight) belongs to ``scored[i]``."""

    plugin: str
    weight: float
    scores: tuple[float, ...]


class ProfileRun(msgspec.Struct, frozen=True):
    """One pass of *filter, score, pick*.

    ``scored`` are the candidates that the filters left; ``totals[i]`` is the weighted sum for
    ``scored[i]``; ``picked`` is best first. ``failed`` are the plugins that had no say in it.
    """

    profile: str
    candidates: tuple[Endpoint, ...]
    filters: tuple[FilterRun, ...]
    scored: tuple[Endpoint, ...]
    scorers: tuple[ScorerRun, ...]
    totals: tuple[float, ...]
    picker: str
    picked: tuple[Endpoint, ...]
    failed: tuple[str, ...] = ()


class SchedulingResult(msgspec.Struct, frozen=True):
    """What the profiles said, None where one failed; ``primary`` is the one that counts."""

    primary: str
    profiles: Mapping[str, ProfileRun | None]

    @property
    def picked(self) -> tuple[Endpoint, ...]:
        """The endpoints of the primary profile, best first."""
        run = self.profiles[self.primary]
        return run.picked if run else ()


class Decision(msgspec.Struct, frozen=True, eq=False):
    """Where a request goes and what the proxy has to change in it.

    ``destination`` is ``ip:port``, several joined by commas. ``set_headers`` holds only what
    changes, ``remove_headers`` what must not go on. ``body`` is what goes on: the client's bytes
    unless the model name changed; None without a body. ``scores`` is what the proxy is told of
    them, by destination.
    """

    request: InferenceRequest
    result: SchedulingResult
    destination: str
    set_headers: tuple[tuple[str, bytes], ...]
    body: bytes | None
    scores: tuple[tuple[str, float], ...] = ()
    remove_headers: tuple[str, ...] = ()
