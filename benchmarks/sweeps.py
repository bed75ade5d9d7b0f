"""Curves instead of single figures: cost over prompt length, streams and pods; latency over rate.

Every point is a case of its own; with two pickers they take turns point by point, and whoever is
not measured is paused. A quick run measures fewer points for a shorter time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.bed import Bed, Gateway, bed
from benchmarks.cases import MEDIUM, SMALL, TRAFFIC_ENDPOINTS, Case, Unit
from benchmarks.contenders import Contender
from benchmarks.figures import Sample
from benchmarks.measure import Machine

PROMPTS = (500, 2_000, 8_000, 32_000, 125_000, 400_000, 1_000_000)
STREAMS = (1, 4, 16, 64, 256)
PODS = (10, 32, 100, 316, 1_000)
RATES = (50, 100, 200, 300, 450, 650, 900, 1_300, 1_900, 2_700, 3_900, 5_500)
_QUICK_PROMPTS, _QUICK_STREAMS = (500, 8_000, 125_000, 1_000_000), (1, 16, 256)
_QUICK_PODS, _QUICK_RATES = (10, 100, 1_000), (100, 300, 650, 1_300, 2_700, 5_500)

SATURATED_SHARE = 0.9
"""Below this share of the asked rate, a picker has its fill and the curve ends."""

Tell = Callable[[str], None]


class Point(msgspec.Struct, frozen=True):
    """What was asked for, and the sample; ``achieved`` is the share of the asked rate, if any."""

    x: float
    sample: Sample
    achieved: float | None = None


class Sweep(msgspec.Struct, frozen=True):
    """One curve for each picker, by its name."""

    curves: dict[str, list[Point]]

    def add(self, name: str, point: Point) -> None:
        self.curves.setdefault(name, []).append(point)


class Sweeps(msgspec.Struct, frozen=True):
    """Everything that is drawn."""

    machine: Machine
    prompts: Sweep
    streams: Sweep
    pods: Sweep
    rates: Sweep


class Effort(msgspec.Struct, frozen=True):
    """The points, and seconds for each."""

    prompts: Sequence[int] = PROMPTS
    streams: Sequence[int] = STREAMS
    pods: Sequence[int] = PODS
    rates: Sequence[int] = RATES
    seconds: float = 3.0
    idle_seconds: float = 4.0

    @classmethod
    def of(cls, *, quick: bool) -> Effort:
        if not quick:
            return cls()
        return cls(
            _QUICK_PROMPTS, _QUICK_STREAMS, _QUICK_PODS, _QUICK_RATES, seconds=1.2, idle_seconds=2
        )


def measure(
    directory: Path,
    pickers: Sequence[Contender],
    *,
    quick: bool,
    one_port: bool,
    config: Path,
    tell: Tell,
) -> Sweeps:
    """All curves, one after the other.

    Raises:
        ProcessError: a process did not start, or died.
    """
    effort = Effort.of(quick=quick)
    machine = Machine.here()
    with bed(directory, endpoints=max(effort.pods), one_port=one_port, config=config) as shared:
        with _gateways(shared, pickers) as gateways:
            for gateway in gateways:
                shared.only(gateway)
                shared.idle(gateway, seconds=effort.idle_seconds)
            prompts = _sweep(shared, gateways, map(_long(effort), effort.prompts), tell)
            streams = _sweep(shared, gateways, map(_many(effort), effort.streams), tell)
            rates = _rates(shared, gateways, effort, tell)
        pods = _pods(shared, pickers, effort, tell)
    return Sweeps(machine, prompts, streams, pods, rates)


def prompt_case(characters: int, seconds: float) -> Case:
    """Always new prompts; few at a time where they are long."""
    return msgspec.structs.replace(
        MEDIUM,
        name=f"prompt of {characters} characters",
        prompt_characters=characters,
        seconds=seconds,
        concurrency=4 if characters >= 100_000 else 16,
    )


def stream_case(streams: int, seconds: float) -> Case:
    """So many streams at a time."""
    return Case(
        f"{streams} streams", Unit.US_PER_CHUNK, 100_000, seconds, concurrency=streams, stream=True
    )


def rate_case(rate: int, seconds: float) -> Case:
    """Small requests that come at a rate, whatever the answers do."""
    return msgspec.structs.replace(
        SMALL, name=f"{rate} requests/s", rate=rate, seconds=seconds, requests=int(rate * seconds)
    )


def is_saturated(case: Case, sample: Sample) -> bool:
    """Whether the asked rate was missed."""
    return sample.requests_per_second < SATURATED_SHARE * (case.rate or 0.0)


def _long(effort: Effort) -> Callable[[int], tuple[int, Case]]:
    return lambda characters: (characters, prompt_case(characters, effort.seconds))


def _many(effort: Effort) -> Callable[[int], tuple[int, Case]]:
    return lambda streams: (streams, stream_case(streams, effort.seconds))


def _sweep(
    shared: Bed, gateways: Sequence[Gateway], cases: Iterator[tuple[int, Case]], tell: Tell
) -> Sweep:
    found = Sweep({})
    for x, case in cases:
        for gateway in gateways:
            shared.only(gateway)
            sample = shared.measure(gateway, case)
            name = gateway.contender.name
            tell(f"{case.name}, {name}: {sample.value:.3g} {case.unit}")
            found.add(name, Point(x, sample))
    return found


def _rates(shared: Bed, gateways: Sequence[Gateway], effort: Effort, tell: Tell) -> Sweep:
    """Each picker until it is saturated; that point is the last of its curve."""
    found, left = Sweep({}), list(gateways)
    for rate in effort.rates:
        case = rate_case(rate, effort.seconds)
        for gateway in list(left):
            shared.only(gateway)
            sample = shared.measure(gateway, case)
            assert sample.latency is not None
            name = gateway.contender.name
            tell(f"{case.name}, {name}: p99 {sample.latency.p99_ms:.3g} ms")
            found.add(name, Point(rate, sample, sample.requests_per_second / rate))
            if is_saturated(case, sample):
                left.remove(gateway)
    return found


def _pods(shared: Bed, pickers: Sequence[Contender], effort: Effort, tell: Tell) -> Sweep:
    """One picker at a time; ``achieved`` is the share of 20 pages a second from each pod."""
    found = Sweep({})
    for pods in effort.pods:
        for contender in pickers:
            with shared.gateway(contender, endpoints=pods) as gateway:
                sample = shared.idle(gateway, seconds=effort.idle_seconds)
            tell(f"{pods} pods, {contender.name}: {sample.value:.3g} cores")
            achieved = (sample.scrapes_per_second or 0.0) / (20 * pods)
            found.add(contender.name, Point(pods, sample, achieved))
    return found


@contextlib.contextmanager
def _gateways(shared: Bed, pickers: Sequence[Contender]) -> Iterator[list[Gateway]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(shared.gateway(contender, endpoints=TRAFFIC_ENDPOINTS))
            for contender in pickers
        ]
