"""What the core reports about itself; metrics and records are made from it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from epp.core.decision import Decision
from epp.core.endpoint import Endpoint
from epp.core.request import RequestKey, Usage

Timer: TypeAlias = Callable[[float], None]
LoadGauge: TypeAlias = Callable[[int, int], None]
"""Told by how many requests and tokens a load changed."""


class Probe:
    """Receives reports and does nothing with them; telemetry overrides what it wants.

    Durations are seconds, sizes bytes. Methods return at once and never raise.
    """

    def plugin_timer(self, point: str, type_name: str, name: str) -> Timer:
        """Whom to tell how long each call of a plugin at an extension point took.

        Asked once, at start, so that a call costs no look-up.
        """
        return _ignore

    def plugin_failed(self, point: str, type_name: str, name: str, error: Exception) -> None:
        """A plugin raised, or returned what it may not; it has no say in this decision."""

    def plugin_overran(self, point: str, type_name: str, name: str, seconds: float) -> None:
        """A call of a plugin took longer than its budget."""

    def plugin_set_aside(self, point: str, type_name: str, name: str) -> None:
        """A plugin is not called any more because it takes too long."""

    def config_loaded(self, succeeded: bool) -> None:
        """A configuration was taken over, or was wrong and is not used."""

    def gap_timer(self, key: RequestKey) -> Timer:
        """Whom to tell the time between two chunks of a streamed answer; asked once for each."""
        return _ignore

    def scheduled(self, seconds: float, target: str, picked: Endpoint | None) -> None:
        """A scheduling cycle for a target model ended: with this endpoint first, or with none."""

    def decided(self, decision: Decision) -> None:
        """A request was given its endpoint."""

    def model_rewritten(self, rewrite_name: str, model: str, target: str) -> None:
        """A rule of the object ``rewrite_name`` applied to a request for ``model``."""

    def request_routed(self, key: RequestKey, *, size_bytes: int, seconds: float) -> None:
        """A request with a body was sent on its way, so long after its headers came."""

    def request_refused(self, seconds: float) -> None:
        """A request was given an error instead of an endpoint, so long after its headers came."""

    def request_failed(self, key: RequestKey, code: str) -> None:
        """A request ended with an error; reported once per request, at its end."""

    def running_changed(self, key: RequestKey, change: int) -> None:
        """A request entered (+1) or left (-1) the model servers."""

    def response_complete(
        self,
        key: RequestKey,
        *,
        seconds: float,
        first_byte_seconds: float | None,
        handling_seconds: float | None,
        size_bytes: int,
        is_streaming: bool,
        usage: Usage | None,
    ) -> None:
        """An answer reached its end, so long after the request's headers came.

        ``first_byte_seconds`` is the time from those to the answer's first byte, None where it has
        none; ``handling_seconds`` the time from the answer's headers to its end, None where it is
        streamed.
        """

    def prefix_matched(
        self, plugin_type: str, name: str, matched_blocks: int, total_blocks: int, block_bytes: int
    ) -> None:
        """How much of a routed prompt its endpoint had seen before, as far as a plugin knows."""

    def prefix_index_sized(self, plugin_type: str, name: str, entries: int) -> None:
        """The number of (block, endpoint) entries of a plugin changed."""

    def disaggregated(self, plugin_type: str, name: str, target: str, stages: str) -> None:
        """Which stages of a request for a target model have endpoints, such as ``decode-only``."""

    def pin_unmatched(self, plugin_type: str, name: str, selector: str) -> None:
        """A request was refused because no endpoint fits the header of a selector."""

    def revisions_weighed(
        self, plugin_type: str, name: str, mode: str, shares: Mapping[str, float]
    ) -> None:
        """The chances of a disaggregated set's revisions changed; this is all of them."""

    def load_gauge(
        self, producer: str, endpoint: Endpoint, fairness_id: str, priority: int
    ) -> LoadGauge:
        """Whom to tell of changes in what is in flight at an endpoint; asked once per request.

        After the endpoint left the pool nobody is told.
        """
        return _ignore_load

    def media_sought(
        self, plugin_type: str, name: str, modality: str, holders: Sequence[Endpoint]
    ) -> None:
        """An image, video or sound came; ``holders`` of the candidates have encoded it before."""

    def media_matched(self, plugin_type: str, name: str, matched: int, total: int) -> None:
        """How many of a request's media one of the candidates has encoded before."""

    def saturation_measured(self, detector: str, saturation: float, stale_endpoints: int) -> None:
        """How full the pool is (1 and above: full), and of how many endpoints nobody knows."""

    def scraped(self, interval_seconds: float) -> None:
        """Reported every second: how far apart the scrapes of an endpoint really were."""

    def poll_failed(self, source_type: str) -> None:
        """A data source could not read an endpoint."""

    def extract_failed(self, source_type: str, extractor_type: str) -> None:
        """What a data source read had nothing in it for an extractor."""


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


def _ignore_load(_requests: int, _tokens: int) -> None:
    """Nobody wants to know."""
