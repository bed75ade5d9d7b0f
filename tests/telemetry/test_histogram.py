from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as StockHistogram

from epp.telemetry.exposition import render
from epp.telemetry.histogram import Histograms, HistogramSeries, add_up
from epp.telemetry.labels import Series

BOUNDS = (0, 0.5, 1, 2, 1048576)


@given(st.lists(st.sampled_from([-1, 0, 0.5, 0.7, 1, 2, 3, 1048576, 2e6])))
def test_it_says_the_same_as_the_library_s_own(values: Sequence[float]) -> None:
    stock, ours = CollectorRegistry(), CollectorRegistry()
    theirs = StockHistogram("h", "Help.", ["x"], buckets=BOUNDS, registry=stock)
    observed: Series[HistogramSeries] = Series(["x"], lambda: HistogramSeries(BOUNDS))
    ours.register(Histograms("h", "Help.", BOUNDS, observed.spelled))
    for value in values:
        theirs.labels("a").observe(value)
        observed[("a",)].observe(value)
    page = render(stock).replace("# HELP h ", "# HELP h [ALPHA] ")
    assert sorted(render(ours).splitlines()) == sorted(page.splitlines())


@given(st.lists(st.lists(st.sampled_from([0, 1, 1.5, 3e6])), min_size=1, max_size=4))
def test_several_add_up_to_one_that_saw_everything(values: Sequence[Sequence[float]]) -> None:
    parts = [HistogramSeries(BOUNDS) for _ in values]
    whole = HistogramSeries(BOUNDS)
    for part, seen in zip(parts, values, strict=True):
        for value in seen:
            part.observe(value)
            whole.observe(value)
    total = add_up(parts)
    assert (total.counts, total.sum) == (whole.counts, whole.sum)


def test_counts_from_a_million_on_are_spelled_as_go_spells_them() -> None:
    registry, series = CollectorRegistry(), HistogramSeries((1,))
    series.counts = [999_999, 1]
    registry.register(Histograms("h", "Help.", (1,), lambda: [("", series)]))
    lines = render(registry).splitlines()[2:]
    assert lines == [
        'h_bucket{le="1"} 999999',
        'h_bucket{le="+Inf"} 1e+06',
        "h_sum 0",
        "h_count 1e+06",
    ]


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    registry.register(Histograms("h", "Help.", BOUNDS, lambda: []))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Histograms("h", "Help.", BOUNDS, lambda: []))
