from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import plots
from benchmarks.figures import Latency, Sample
from benchmarks.plots import Line, lines, log_ticks
from benchmarks.sweeps import Point, Sweep, Sweeps
from tests.benchmarks.reports import MACHINE


def make_sweep(*pickers: str) -> Sweep:
    sweep = Sweep({})
    for picker in pickers:
        for x in (10, 100, 1000):
            sample = Sample(value=x / 20, latency=Latency(1.0, 2.0, 3.0))
            sweep.add(picker, Point(x, sample, achieved=1.0))
    return sweep


def test_each_picker_has_a_line_of_its_own() -> None:
    found = lines(make_sweep("epp", "other"), lambda point: point.sample.value, label=" p50")
    assert found == [
        Line("epp p50", "epp", [10, 100, 1000], [0.5, 5, 50]),
        Line("other p50", "other", [10, 100, 1000], [0.5, 5, 50]),
    ]


def test_points_without_a_value_are_left_out() -> None:
    sweep = make_sweep("epp")
    assert lines(sweep, lambda point: point.x if point.x > 10 else None)[0].xs == [100, 1000]
    assert lines(sweep, lambda point: None) == []


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.6, 3.0, [0.5, 1, 2, 5]),
        (1.0, 1.5, [1, 2]),
        (1.0, 2.0, [1, 2, 5]),
        (30.0, 700.0, [20, 50, 100, 200, 500, 1000]),
    ],
)
def test_ticks_enclose_the_values(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.thorough
def test_all_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sweep = make_sweep("epp", "other")
    found = plots.draw(Sweeps(MACHINE, sweep, sweep, sweep, sweep), tmp_path / "new")
    assert len(found) == 4
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)
