"""What is measured, and what is made of it: medians and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.cases import Reference
from benchmarks.measure import Machine


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds as the client sees them."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One picker in one case of one round; ``value`` is in the unit of its row."""

    value: float
    latency: Latency | None = None
    requests: int = 0
    requests_per_second: float = 0.0
    # What the picker used in all, idle part included, while the load ran; and the load generator.
    cores: float = 0.0
    load_cores: float | None = None
    # Envoy's own cost in the unit of the row.
    envoy_value: float | None = None
    # Messages Envoy sent to the picker, per request or per chunk.
    messages: float | None = None
    # Pages the picker read while idle; fewer than expected means it did not get its share of CPU.
    scrapes_per_second: float | None = None
    bad_answers: int = 0
    problems: dict[str, int] = {}


class Row(msgspec.Struct, frozen=True):
    """One case: a sample of each picker for each round; ``other`` is empty without another."""

    name: str
    reference: Reference
    ours: list[Sample] = []
    other: list[Sample] = []


class Spread(msgspec.Struct, frozen=True):
    """The middle of some values and their ends."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None without values."""
        return cls(statistics.median(values), min(values), max(values)) if values else None


class Report(msgspec.Struct, frozen=True):
    """Everything that is written as JSON; ``compared_with`` is the other's command line."""

    machine: Machine
    quick: bool
    rounds: int
    rows: list[Row]
    flags: list[str] = []
    compared_with: str = ""

    @property
    def bad_answers(self) -> tuple[int, int]:
        """Wrong answers behind our picker, and behind the other."""
        ours = sum(sample.bad_answers for row in self.rows for sample in row.ours)
        return ours, sum(sample.bad_answers for row in self.rows for sample in row.other)


def spread(samples: Sequence[Sample]) -> Spread | None:
    """Of the values of some rounds."""
    return Spread.of([sample.value for sample in samples])


def ratio(row: Row) -> Spread | None:
    """Ours to the other's: of the medians, with the lowest and highest of a round."""
    ours, other = spread(row.ours), spread(row.other)
    if ours is None or other is None or not other.median:
        return None
    pairs = zip(row.ours, row.other, strict=False)
    rounds = [mine.value / theirs.value for mine, theirs in pairs if theirs.value]
    return Spread(ours.median / other.median, min(rounds), max(rounds))


def ratio_to_go(row: Row) -> float | None:
    """Our median to the kept Go figure, which is of another machine."""
    ours, go = spread(row.ours), row.reference.go
    return ours.median / go if ours and go else None
