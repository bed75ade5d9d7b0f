"""A histogram for the registry that costs little to feed and to keep.

prometheus_client's own walks through the buckets (1.5 us for 10 of them, 2.7 us for 35) and keeps
an object with a lock for each; this one bisects (0.3 us) and keeps one list of numbers. It belongs
to one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.registry import Collector

from epp.telemetry.exposition import (
    LINES_PER_PIECE,
    WrittenMetric,
    go_float,
    spell_count,
    spell_labels,
)


class HistogramSeries:
    """The observations under one set of label values."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value`` in the first bucket whose bound is not below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Histogram(Collector):
    """A family of series, told apart by the values of ``label_names``."""

    def __init__(
        self, name: str, help_text: str, label_names: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self.name = name
        self._help = help_text
        self._label_names = tuple(label_names)
        self._bounds = tuple(bounds)
        self._series: dict[tuple[str, ...], HistogramSeries] = {}

    def labels(self, *values: str) -> HistogramSeries:
        """The series with these label values, made when there is none yet."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = HistogramSeries(self._bounds)
        return series

    def describe(self) -> Iterable[Metric]:
        return [Metric(self.name, self._help, "histogram")]

    def collect(self) -> Iterable[Metric]:
        return [WrittenMetric(self.name, self._help, "histogram", self._pieces())]

    def _pieces(self) -> Iterator[str]:
        """The lines of every series, some hundred at a time.

        A page of 1,000 models, 18 MB, takes 43 ms this way; by way of the library's samples it took
        526 ms, and 60 MiB more while it was made.
        """
        bounds = [*(go_float(bound) for bound in self._bounds), "+Inf"]
        ends = [f'le="{bound}"}} ' for bound in bounds]
        lines: list[str] = []
        for values, series in list(self._series.items()):
            labels = spell_labels(dict(zip(self._label_names, values, strict=True)))
            start = f"{self.name}_bucket{{{labels}{',' if labels else ''}"
            braced = f"{{{labels}}}" if labels else ""
            total = 0
            for end, count in zip(ends, series.counts, strict=True):
                total += count
                lines.append(f"{start}{end}{total if total < 10**6 else go_float(total)}\n")
            lines.append(f"{self.name}_sum{braced} {go_float(series.sum)}\n")
            lines.append(f"{self.name}_count{braced} {spell_count(total)}\n")
            if len(lines) >= LINES_PER_PIECE:
                yield "".join(lines)
                lines = []
        if lines:
            yield "".join(lines)
