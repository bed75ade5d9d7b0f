"""A histogram for the registry that costs little to feed and to keep.

prometheus_client's own walks through the buckets (1.5 us for 10 of them, 2.7 us for 35) and keeps
an object with a lock for each; this one bisects (0.3 us) and keeps one list of numbers. It belongs
to one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import Metric
from prometheus_client.registry import Collector

from epp.telemetry.exposition import go_float


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
        metric = Metric(self.name, self._help, "histogram")
        bounds = [*(go_float(bound) for bound in self._bounds), "+Inf"]
        for values, series in self._series.items():
            labels = dict(zip(self._label_names, values, strict=True))
            total = 0
            for bound, count in zip(bounds, series.counts, strict=True):
                total += count
                metric.add_sample(f"{self.name}_bucket", {**labels, "le": bound}, total)
            metric.add_sample(f"{self.name}_sum", labels, series.sum)
            metric.add_sample(f"{self.name}_count", labels, total)
        return [metric]
