from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as StockHistogram

from epp.telemetry.exposition import render
from epp.telemetry.histogram import Histogram

BOUNDS = (0, 0.5, 1, 2, 1048576)


@given(st.lists(st.sampled_from([-1, 0, 0.5, 0.7, 1, 2, 3, 1048576, 2e6])))
def test_it_says_the_same_as_the_library_s_own(values: Sequence[float]) -> None:
    stock, ours = CollectorRegistry(), CollectorRegistry()
    theirs = StockHistogram("h", "Help.", ["x"], buckets=BOUNDS, registry=stock)
    histogram = Histogram("h", "Help.", ["x"], BOUNDS)
    ours.register(histogram)
    for value in values:
        theirs.labels("a").observe(value)
        histogram.labels("a").observe(value)
    assert sorted(render(ours).splitlines()) == sorted(render(stock).splitlines())


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    registry.register(Histogram("h", "Help.", (), BOUNDS))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Histogram("h", "Help.", (), BOUNDS))
