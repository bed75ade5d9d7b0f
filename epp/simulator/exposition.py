"""The Prometheus text format, as much of it as the simulator writes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of observations per bucket; a bound belongs to the bucket below it.

    The beginnings of its lines are made once: pickers read the page many times a second.
    """

    __slots__ = ("_starts", "bounds", "counts", "total")

    def __init__(self, name: str, labels: str, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        spelled = [*(number(bound) for bound in bounds), "+Inf"]
        self._starts = [f'{name}_bucket{{{labels},le="{bound}"}}' for bound in spelled]
        self._starts += [f"{name}_sum{{{labels}}}", f"{name}_count{{{labels}}}"]

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self) -> list[str]:
        """The buckets, the sum and the count."""
        seen = list(accumulate(self.counts))
        values = [*seen, number(self.total), seen[-1]]
        return [f"{start} {value}" for start, value in zip(self._starts, values, strict=True)]


def head(name: str, kind: str, explanation: str) -> list[str]:
    """The two lines before a family's samples."""
    return [f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"]


def sample(name: str, labels: str, value: float) -> str:
    """One line; ``labels`` as ``label_text`` makes them."""
    return f"{name}{{{labels}}} {number(value)}"


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they stand between braces."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def number(value: float) -> str:
    """Without a fraction where there is none."""
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
