"""The Prometheus text format, as much of it as the simulator writes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of observations per bucket; a bound belongs to the bucket below it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


def head(name: str, kind: str, explanation: str) -> list[str]:
    """The two lines before a family's samples."""
    return [f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"]


def sample(name: str, labels: str, value: float) -> str:
    """One line; ``labels`` as ``label_text`` makes them."""
    return f"{name}{{{labels}}} {number(value)}"


def histogram_lines(name: str, labels: str, histogram: Histogram) -> Iterable[str]:
    """The buckets, the sum and the count."""
    seen = 0
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        seen += count
        spelled = "+Inf" if bound is None else number(bound)
        yield f'{name}_bucket{{{labels},le="{spelled}"}} {seen}'
    yield f"{name}_sum{{{labels}}} {number(histogram.total)}"
    yield f"{name}_count{{{labels}}} {seen}"


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they stand between braces."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def number(value: float) -> str:
    """Without a fraction where there is none."""
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
