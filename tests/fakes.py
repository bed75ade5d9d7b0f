"""The smallest worlds: a clock that stands still, a probe that takes notes, a few endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

from epp.core.clock import Clock
from epp.core.decision import Decision, ProfileRun
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.plugin import Handle, Plugin
from epp.core.probe import LoadGauge, Probe, ScrapeInterval, Timer
from epp.core.request import ChatMessage, InferenceRequest, RequestBody, RequestKey, Usage

SEED = 42
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class FakeClock(Clock):
    """Time that passes only when a test says so."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._start = start

    def now(self) -> float:
        return self._now

    def timestamp(self) -> float:
        return NOON.timestamp() + self._now - self._start

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class Complete(NamedTuple):
    """One ``response_complete``."""

    model: str
    target: str
    seconds: float
    size_bytes: int
    is_streaming: bool
    usage: Usage | None


class FakeProbe(Probe):
    """Takes notes: ``calls`` are the names of the reports in order, the lists what they said.

    ``keys`` are those of every report that has one; of an answer's end ``timings`` has the times to
    its first byte and of its handling.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.plugins: list[tuple[str, str, str]] = []
        self.plugin_failures: list[tuple[str, str, str, Exception]] = []
        self.overruns: list[tuple[str, str, float]] = []
        self.set_aside: list[tuple[str, str]] = []
        self.configs: list[bool] = []
        self.cycles: list[float] = []
        self.attempts: list[tuple[str, Endpoint | None]] = []
        self.rewrites: list[tuple[str, str, str]] = []
        self.decisions: list[Decision] = []
        self.keys: list[RequestKey] = []
        self.routed: list[tuple[str, str, int]] = []
        self.handled: list[float] = []
        self.failed: list[tuple[str, str, str]] = []
        self.running: list[tuple[str, int]] = []
        self.complete: list[Complete] = []
        self.timings: list[tuple[float | None, float | None]] = []
        self.gaps: list[float] = []
        self.prefix_plugins: set[tuple[str, str]] = set()
        self.prefix_matches: list[tuple[int, int, int]] = []
        self.index_sizes: list[int] = []
        self.disaggregations: list[tuple[str, str, str, str]] = []
        self.unmatched_pins: list[tuple[str, str, str]] = []
        self.revisions: list[tuple[str, str, str, dict[str, float]]] = []
        self.loads: dict[tuple[str, str, str, int], tuple[int, int]] = {}
        self.media: list[tuple[str, tuple[str, ...]]] = []
        self.media_matches: list[tuple[int, int]] = []
        self.saturations: list[tuple[str, float, int]] = []
        self.scrape_intervals: list[float] = []
        self.scrape_failures: list[tuple[str, ...]] = []

    def plugin_timer(self, point: str, type_name: str, name: str) -> Timer:
        def ran(_seconds: float) -> None:
            self.calls.append("plugin_ran")
            self.plugins.append((point, type_name, name))

        return ran

    def plugin_failed(self, point: str, type_name: str, name: str, error: Exception) -> None:
        self.calls.append("plugin_failed")
        self.plugin_failures.append((point, type_name, name, error))

    def plugin_overran(self, point: str, type_name: str, name: str, seconds: float) -> None:
        self.calls.append("plugin_overran")
        self.overruns.append((point, name, seconds))

    def plugin_set_aside(self, point: str, type_name: str, name: str) -> None:
        self.calls.append("plugin_set_aside")
        self.set_aside.append((point, name))

    def config_loaded(self, succeeded: bool) -> None:
        self.calls.append("config_loaded")
        self.configs.append(succeeded)

    def gap_timer(self, key: RequestKey) -> Timer:
        self.keys.append(key)
        return self.gaps.append

    def scheduled(self, seconds: float, target: str, picked: Endpoint | None) -> None:
        self.calls.append("scheduled")
        self.cycles.append(seconds)
        self.attempts.append((target, picked))

    def decided(self, decision: Decision) -> None:
        self.calls.append("decided")
        self.decisions.append(decision)

    def model_rewritten(self, rewrite_name: str, model: str, target: str) -> None:
        self.calls.append("model_rewritten")
        self.rewrites.append((rewrite_name, model, target))

    def request_routed(self, key: RequestKey, *, size_bytes: int, seconds: float) -> None:
        self.calls.append("request_routed")
        self.keys.append(key)
        self.routed.append((key.model, key.target, size_bytes))
        self.handled.append(seconds)

    def request_refused(self, seconds: float) -> None:
        self.calls.append("request_refused")
        self.handled.append(seconds)

    def request_failed(self, key: RequestKey, code: str) -> None:
        self.calls.append("request_failed")
        self.keys.append(key)
        self.failed.append((key.model, key.target, code))

    def running_changed(self, key: RequestKey, change: int) -> None:
        self.calls.append("running_changed")
        self.keys.append(key)
        self.running.append((key.model, change))

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
        self.calls.append("response_complete")
        self.keys.append(key)
        self.complete.append(
            Complete(key.model, key.target, seconds, size_bytes, is_streaming, usage)
        )
        self.timings.append((first_byte_seconds, handling_seconds))

    def prefix_matched(
        self, plugin_type: str, name: str, matched_blocks: int, total_blocks: int, block_bytes: int
    ) -> None:
        self.calls.append("prefix_matched")
        self.prefix_plugins.add((plugin_type, name))
        self.prefix_matches.append((matched_blocks, total_blocks, block_bytes))

    def prefix_index_sized(self, plugin_type: str, name: str, entries: int) -> None:
        self.calls.append("prefix_index_sized")
        self.prefix_plugins.add((plugin_type, name))
        self.index_sizes.append(entries)

    def disaggregated(self, plugin_type: str, name: str, target: str, stages: str) -> None:
        self.calls.append("disaggregated")
        self.disaggregations.append((plugin_type, name, target, stages))

    def pin_unmatched(self, plugin_type: str, name: str, selector: str) -> None:
        self.calls.append("pin_unmatched")
        self.unmatched_pins.append((plugin_type, name, selector))

    def revisions_weighed(
        self, plugin_type: str, name: str, mode: str, shares: Mapping[str, float]
    ) -> None:
        self.calls.append("revisions_weighed")
        self.revisions.append((plugin_type, name, mode, dict(shares)))

    def load_gauge(
        self, producer: str, endpoint: Endpoint, fairness_id: str, priority: int
    ) -> LoadGauge:
        key = producer, endpoint.id, fairness_id, priority

        def changed(requests: int, tokens: int) -> None:
            before = self.loads.get(key, (0, 0))
            self.loads[key] = before[0] + requests, before[1] + tokens

        return changed

    def media_sought(
        self, plugin_type: str, name: str, modality: str, holders: Sequence[Endpoint]
    ) -> None:
        self.calls.append("media_sought")
        self.media.append((modality, tuple(e.id for e in holders)))

    def media_matched(self, plugin_type: str, name: str, matched: int, total: int) -> None:
        self.calls.append("media_matched")
        self.media_matches.append((matched, total))

    def saturation_measured(self, detector: str, saturation: float, stale_endpoints: int) -> None:
        self.calls.append("saturation_measured")
        self.saturations.append((detector, saturation, stale_endpoints))

    def scraped(self, interval_seconds: float) -> None:
        self.calls.append("scraped")
        self.scrape_intervals.append(interval_seconds)

    def poll_failed(self, source_type: str) -> None:
        self.calls.append("poll_failed")
        self.scrape_failures.append((source_type,))

    def extract_failed(self, source_type: str, extractor_type: str) -> None:
        self.calls.append("extract_failed")
        self.scrape_failures.append((source_type, extractor_type))


def make_endpoint(
    name: str,
    *,
    address: str = "10.0.0.1",
    port: int = 8000,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    **metrics: Any,
) -> Endpoint:
    """An endpoint; ``metrics`` are fields of ``EndpointMetrics``."""
    return Endpoint(
        id=f"{namespace}/{name}",
        name=name,
        namespace=namespace,
        address=address,
        port=port,
        labels=labels or {},
        metrics=EndpointMetrics(**metrics),
    )


def endpoints(*waiting_queue_sizes: int) -> list[Endpoint]:
    """Endpoints ``a``, ``b``, ... at 10.0.0.1, 10.0.0.2, ... with these waiting queues."""
    return [
        make_endpoint(
            chr(ord("a") + i) if i < 26 else f"e{i}",
            address=f"10.0.{(i + 1) // 256}.{(i + 1) % 256}",
            waiting_queue_size=size,
        )
        for i, size in enumerate(waiting_queue_sizes)
    ]


def make_request(
    prompt: str | None = "hello",
    *,
    model: str = "m",
    target: str | None = None,
    messages: Sequence[ChatMessage] | None = None,
    cache_salt: str = "",
    headers: Mapping[str, bytes] | None = None,
    priority: int = 0,
    request_id: str = "r1",
) -> InferenceRequest:
    """A parsed request; with ``messages`` it is a chat, without prompt too it has no body."""
    body: RequestBody | None = None
    if messages is not None:
        body = RequestBody(model=model, messages=messages, cache_salt=cache_salt)
    elif prompt is not None:
        body = RequestBody(model=model, prompt=prompt, cache_salt=cache_salt)
    return InferenceRequest(
        request_id=request_id,
        headers=headers or {},
        body=body,
        incoming_model=model if body else "",
        target_model=(model if target is None else target) if body else "",
        priority=priority,
    )


def make_handle(
    *,
    probe: Probe | None = None,
    clock: Clock | None = None,
    seed: int = SEED,
    scrape_interval_seconds: float = 0.05,
    name: str = "",
    plugins: Mapping[str, Plugin] | None = None,
) -> Handle:
    """What plugins may use: seeded chance, a still clock, a probe that takes notes."""
    return Handle(
        random=Random(seed),
        clock=clock or FakeClock(),
        probe=probe or FakeProbe(),
        scrape_interval=ScrapeInterval(scrape_interval_seconds),
        name=name,
        plugins=plugins or {},
    )


def make_run(*candidates: Endpoint, picked: Sequence[Endpoint], profile: str = "p") -> ProfileRun:
    """A pass of a profile that removed nobody and scored nothing."""
    return ProfileRun(
        profile=profile,
        candidates=candidates,
        filters=(),
        scored=candidates,
        scorers=(),
        totals=(0.0,) * len(candidates),
        picker="fake",
        picked=tuple(picked),
    )
