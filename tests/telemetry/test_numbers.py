from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge

from epp.telemetry.exposition import render
from epp.telemetry.numbers import Numbers

CHANGES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([1, 2, 0.5])))


@given(CHANGES, CHANGES)
def test_they_say_the_same_as_the_library_s_own(
    counted: Sequence[tuple[str, float]], gauged: Sequence[tuple[str, float]]
) -> None:
    stock, ours = CollectorRegistry(), CollectorRegistry()
    counter = Counter("c_total", "Counts.", ["x"], registry=stock)
    gauge = Gauge("g", "Measures.", ["x"], registry=stock)
    counters = Numbers("c_total", "Counts.", ["x"], "counter")
    gauges = Numbers("g", "Measures.", ["x"], "gauge")
    ours.register(counters)
    ours.register(gauges)
    for label, change in counted:
        counter.labels(label).inc(change)
        counters.labels(label).value += change
    for label, change in gauged:
        gauge.labels(label).dec(change)
        gauges.labels(label).value -= change
    assert sorted(render(ours).splitlines()) == sorted(render(stock).splitlines())


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    registry.register(Numbers("c_total", "Counts.", (), "counter"))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Numbers("c_total", "Counts.", (), "counter"))
