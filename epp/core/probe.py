"""What the core reports about itself; metrics and records are made from it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from epp.core.decision import Decision
from epp.core.request import Usage

Timer: TypeAlias = Callable[[float], None]


class Probe:
    """Receives reports and does nothing with them; telemetry overrides what it wants.

    Durations are seconds, sizes bytes. ``model`` and ``target`` are what the client and the rewrite
    named, empty where unknown. Methods return at once and never raise.
    """

    def plugin_timer(self, point: str, type_name: str, name: str) -> Timer:
        """Whom to tell how long each call of a plugin at an extension point took.

        Asked once, at start, so that a call costs no look-up.
        """
        return _ignore

    def scheduled(self, seconds: float) -> None:
        """A scheduling cycle ended, with or without a result."""

    def decided(self, decision: Decision) -> None:
        """A request was given its endpoint."""

    def model_rewritten(self, rewrite_name: str, model: str, target: str) -> None:
        """A rule of the object ``rewrite_name`` changed a request's model, perhaps to the same."""

    def request_routed(self, model: str, target: str, size_bytes: int) -> None:
        """A request with a body was sent on its way."""

    def request_failed(self, model: str, target: str, code: str) -> None:
        """A request ended with an error; reported once per request."""

    def running_changed(self, model: str, change: int) -> None:
        """A request entered (+1) or left (-1) the model servers."""

    def response_complete(
        self,
        model: str,
        target: str,
        *,
        seconds: float,
        size_bytes: int,
        is_streaming: bool,
        usage: Usage | None,
    ) -> None:
        """An answer reached its end."""

    def prefix_matched(self, matched_blocks: int, total_blocks: int, block_bytes: int) -> None:
        """How much of a routed prompt its endpoint had seen before."""

    def prefix_index_sized(self, entries: int) -> None:
        """The number of (block, endpoint) entries changed."""

    def scraped(self, interval_seconds: float) -> None:
        """Reported every second: how far apart the scrapes of an endpoint really were."""

    def saturation_measured(
        self, detector_name: str, saturation: float, stale_endpoints: int
    ) -> None:
        """A detector looked at endpoints, of which so many had metrics too old to be believed."""


class ScrapeInterval(Probe):
    """Remembers how far apart the scrapes of an endpoint really are.

    ``seconds`` is what was asked for until it is measured.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def scraped(self, interval_seconds: float) -> None:
        self.seconds = interval_seconds


def _ignore(_seconds: float) -> None:
    """Nobody wants to know."""
