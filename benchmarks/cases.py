"""The cases: what is sent, what the Go picker needed for it once, and what ours may need."""

from __future__ import annotations

import enum

import msgspec

from benchmarks.load import Plan
from benchmarks.prompts import PromptKind

TRAFFIC_ENDPOINTS = 10
SCRAPED_ENDPOINTS = 100
LONG_PROMPT_CHARACTERS = 400_000


class Unit(enum.StrEnum):
    """What a figure counts, spelled for the table."""

    MS_PER_REQUEST = "ms/request"
    US_PER_CHUNK = "us/chunk"
    CORES = "cores"
    MIB = "MiB"
    SECONDS = "s"
    MS = "ms"


class Reference(msgspec.Struct, frozen=True):
    """The Go picker of 2025 on another two-core machine, with ten endpoints and ``--v 1``.

    ``go`` is None where nothing was kept. ``at_most`` is what ours may need on that machine; on
    this one it counts as a ratio.
    """

    unit: Unit
    go: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        """What ours may be in units of the Go picker's."""
        return self.at_most / self.go if self.at_most and self.go else None


class Case(msgspec.Struct, frozen=True):
    """Traffic whose cost is measured; ``seconds`` bounds one round."""

    name: str
    unit: Unit
    requests: int
    seconds: float
    concurrency: int = 16
    rate: float | None = None
    prompt_characters: int = 200
    prompt_kind: PromptKind = PromptKind.NEW
    stream: bool = False
    verbosity: int = 1

    def plan(self, port: int, *, share: float = 1.0, seed: int = 1) -> Plan:
        """The load for this share of the case's time; the number of requests is a bound of it."""
        return Plan(
            port=port,
            requests=max(self.concurrency, int(self.requests * share)),
            seconds=self.seconds * share,
            concurrency=self.concurrency,
            rate=self.rate,
            prompt_characters=self.prompt_characters,
            prompt_kind=self.prompt_kind,
            stream=self.stream,
            seed=seed,
        )


START = "start to first routed answer"
MEMORY_START = "memory at start"
MEMORY_END = "memory after 600 long prompts"
P99 = "300/s: p99 latency"

MS, US = Unit.MS_PER_REQUEST, Unit.US_PER_CHUNK
SMALL = Case("small request, c=16", MS, requests=20_000, seconds=8)
SMALL_VERBOSE = Case("small request, c=16, --v 4", MS, requests=20_000, seconds=6, verbosity=4)
STEADY = Case("small request, 300/s", MS, requests=2_400, seconds=8, rate=300)
CHUNK = Case("streamed chunk, c=32", US, requests=5_000, seconds=8, concurrency=32, stream=True)
MEDIUM = Case("8 kB prompt, c=16", MS, requests=20_000, seconds=6, prompt_characters=8_000)
CASES = (SMALL, STEADY, CHUNK, MEDIUM)

# Every one of these is sent, so that memory is measured after the same number of prompts.
LONG_NEW = Case(
    "400 kB prompt, new",
    MS,
    requests=500,
    seconds=45,
    concurrency=4,
    prompt_characters=LONG_PROMPT_CHARACTERS,
)
LONG_REPEATED = msgspec.structs.replace(
    LONG_NEW,
    name="400 kB prompt, repeated",
    requests=100,
    seconds=15,
    prompt_kind=PromptKind.REPEATED,
)
LONG_CASES = (LONG_NEW, LONG_REPEATED)


def idle(endpoints: int) -> str:
    """Name of the row for a picker that only scrapes so many endpoints."""
    return f"idle, {endpoints} endpoints"


REFERENCES = {
    START: Reference(Unit.SECONDS, 1.0, 1.0),
    MEMORY_START: Reference(Unit.MIB, 60),
    idle(TRAFFIC_ENDPOINTS): Reference(Unit.CORES, 0.12),
    SMALL.name: Reference(MS, 0.28, 0.17),
    SMALL_VERBOSE.name: Reference(MS, 0.69, 0.20),
    STEADY.name: Reference(MS, 0.80, 0.45),
    P99: Reference(Unit.MS),
    CHUNK.name: Reference(US, 32, 12),
    MEDIUM.name: Reference(MS, 0.75, 0.30),
    LONG_NEW.name: Reference(MS, 9.3, 2.2),
    LONG_REPEATED.name: Reference(MS, 8.3, 2.0),
    MEMORY_END: Reference(Unit.MIB, 590, 180),
    idle(SCRAPED_ENDPOINTS): Reference(Unit.CORES, 0.99, 0.15),
}
"""Every row, in the order of the table."""
