from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client import Histogram as StockHistogram
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from epp.telemetry.exposition import chunks, go_float, render


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (0, "0"), (-0.0, "-0"), (1, "1"), (64.0, "64"), (0.005, "0.005"), (1.25, "1.25"),
        (131072, "131072"), (999999, "999999"), (1e6, "1e+06"), (1048576, "1.048576e+06"),
        (1073741824, "1.073741824e+09"), (0.0001, "0.0001"), (0.00001, "1e-05"), (1e100, "1e+100"),
        (123456.789, "123456.789"), (-2.5e-7, "-2.5e-07"), (math.inf, "+Inf"), (-math.inf, "-Inf"),
        (math.nan, "NaN"), (0.1 + 0.2, "0.30000000000000004"),
    ],
)  # fmt: skip
def test_checklist_10_numbers_are_spelled_as_go_spells_them(value: float, spelled: str) -> None:
    assert go_float(value) == spelled


@given(st.floats(allow_nan=False))
def test_a_spelling_keeps_its_number(value: float) -> None:
    assert float(go_float(value)) == value


def test_a_page_is_written_as_go_writes_it() -> None:
    registry = CollectorRegistry()
    requests = Counter("b_total", "Two\nlines \\ here.", ["z", "a"], registry=registry)
    requests.labels('q"q', "l\nl\\").inc(3)
    Gauge("c", "No series yet.", ["x"], registry=registry)
    sizes = StockHistogram("a", "Sizes.", buckets=[0.005, 64, 1048576], registry=registry)
    sizes.observe(64)
    assert render(registry) == (
        "# HELP a Sizes.\n"
        "# TYPE a histogram\n"
        'a_bucket{le="0.005"} 0\n'
        'a_bucket{le="64"} 1\n'
        'a_bucket{le="1.048576e+06"} 1\n'
        'a_bucket{le="+Inf"} 1\n'
        "a_count 1\n"
        "a_sum 64\n"
        "# HELP b_total Two\\nlines \\\\ here.\n"
        "# TYPE b_total counter\n"
        'b_total{a="l\\nl\\\\",z="q\\"q"} 3\n'
    )


class Many(Collector):
    def collect(self) -> Iterable[Metric]:
        metric = Metric("many", "Many series.", "gauge")
        for number in range(2000):
            metric.add_sample("many", {"n": str(number)}, number)
        return [metric]


def test_a_long_page_comes_in_pieces() -> None:
    registry = CollectorRegistry()
    registry.register(Many())
    pieces = list(chunks(registry))
    assert len(pieces) > 3
    assert all(piece.count("\n") <= 500 for piece in pieces)
    (family,) = text_string_to_metric_families("".join(pieces))
    assert [sample.value for sample in family.samples] == list(range(2000))
