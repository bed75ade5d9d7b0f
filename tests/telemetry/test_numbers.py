from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge

from epp.telemetry.exposition import render
from epp.telemetry.labels import Series
from epp.telemetry.numbers import Number, Numbers, values_of

CHANGES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([1, 2, 0.5])))


@given(CHANGES, CHANGES)
def test_they_say_the_same_as_the_library_s_own(
    counted: Sequence[tuple[str, float]], gauged: Sequence[tuple[str, float]]
) -> None:
    stock, ours = CollectorRegistry(), CollectorRegistry()
    counter = Counter("c_total", "Counts.", ["x"], registry=stock)
    gauge = Gauge("g", "Measures.", ["x"], registry=stock)
    counters: Series[Number] = Series(["x"], Number)
    gauges: Series[Number] = Series(["x"], Number)
    ours.register(Numbers("c_total", "Counts.", "counter", values_of(counters)))
    ours.register(Numbers("g", "Measures.", "gauge", values_of(gauges)))
    for label, change in counted:
        counter.labels(label).inc(change)
        counters[(label,)].value += change
    for label, change in gauged:
        gauge.labels(label).dec(change)
        gauges[(label,)].value -= change
    theirs = render(stock).replace("# HELP c_total ", "# HELP c_total [ALPHA] ")
    theirs = theirs.replace("# HELP g ", "# HELP g [ALPHA] ")
    assert sorted(render(ours).splitlines()) == sorted(theirs.splitlines())


def test_numbers_may_be_without_labels_and_made_for_the_page() -> None:
    registry = CollectorRegistry()
    registry.register(Numbers("g", "Measures.", "gauge", lambda: [("", 0.25)]))
    registry.register(Numbers("nobody", "Nothing.", "gauge", lambda: []))
    assert render(registry) == "# HELP g [ALPHA] Measures.\n# TYPE g gauge\ng 0.25\n"


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    registry.register(Numbers("c_total", "Counts.", "counter", lambda: []))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Numbers("c_total", "Counts.", "counter", lambda: []))
