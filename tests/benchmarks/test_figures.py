from __future__ import annotations

import pytest

from benchmarks import cases
from benchmarks.figures import Sample, Spread, ratio, ratio_to_go
from tests.benchmarks.reports import make_report, make_row


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([]) is None


def test_the_ratio_is_of_medians_and_its_ends_are_of_rounds() -> None:
    row = make_row(cases.SMALL.name, [1.0, 2.0, 3.0], [4.0, 4.0, 2.0])
    assert ratio(row) == Spread(0.5, 0.25, 1.5)


@pytest.mark.parametrize("other", [None, [0.0]])
def test_there_is_no_ratio_to_nothing(other: list[float] | None) -> None:
    assert ratio(make_row(cases.SMALL.name, [1.0], other)) is None


def test_our_ratio_to_the_kept_figure_is_of_medians() -> None:
    report = make_report()
    assert ratio_to_go(report.rows[0]) == pytest.approx(0.42 / 0.28)


def test_wrong_answers_are_counted_apart() -> None:
    report = make_report(other=[1.0])
    report.rows[0].ours.append(Sample(value=1.0, bad_answers=2))
    report.rows[1].other.append(Sample(value=1.0, bad_answers=3))
    assert report.bad_answers == (2, 3)


def test_every_target_is_below_the_go_figure() -> None:
    ratios = [reference.ratio for reference in cases.REFERENCES.values()]
    assert all(value is None or 0 < value <= 1 for value in ratios)
