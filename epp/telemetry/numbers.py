"""Counters and gauges for the registry that cost little to change.

prometheus_client's own take a lock (0.5 us a change); these are one attribute (0.05 us). They
belong to one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from prometheus_client import Metric
from prometheus_client.registry import Collector

from epp.telemetry.exposition import WrittenMetric, in_pieces, spell_number
from epp.telemetry.labels import Series


class Number:
    """The value under one set of label values; whoever has it changes ``value``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Numbers(Collector):
    """A family of counters or gauges; ``read`` gives spelled labels with values for a page."""

    def __init__(
        self,
        name: str,
        help_text: str,
        kind: Literal["counter", "gauge"],
        read: Callable[[], Iterable[tuple[str, float]]],
    ) -> None:
        self.name = name
        self._head = (name.removesuffix("_total"), f"[ALPHA] {help_text}", kind)
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return [Metric(*self._head)]

    def collect(self) -> Iterable[Metric]:
        return [WrittenMetric(*self._head, in_pieces(self._lines()))]

    def _lines(self) -> Iterator[str]:
        for labels, value in self._read():
            braced = f"{{{labels}}}" if labels else ""
            yield f"{self.name}{braced} {spell_number(value)}\n"


def values_of(series: Series[Number]) -> Callable[[], Iterator[tuple[str, float]]]:
    """How a family reads numbers that are kept as such."""
    return lambda: ((labels, number.value) for labels, number in series.spelled())
