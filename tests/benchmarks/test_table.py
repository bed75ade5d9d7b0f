from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import table
from benchmarks.figures import Sample
from tests.benchmarks.reports import make_report


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.12345, "0.123"), (12.345, "12.3"), (1234.5, "1234")]
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert table.number(value) == text


def test_without_another_picker_kept_figures_stand_beside_ours() -> None:
    report = make_report()
    found = table.costs(report)
    assert found.headings[3:] == ["Go, kept", "ours/Go", "at most"]
    assert found.lines[0][2:] == ["0.42 (0.4 - 0.44)", "0.28", "1.5", "0.607"]
    assert "No other picker was at hand" in table.caption(report)


def test_another_picker_stands_beside_ours_with_the_ratio_of_each_round() -> None:
    report = make_report(compared_with="some picker", other=[0.84, 0.80, 0.44])
    found = table.costs(report)
    assert found.headings[3:6] == ["other", "ours/other", "at most"]
    assert found.lines[0][3:] == [
        "0.8 (0.44 - 0.84)",
        "0.525 (0.5 - 1)",
        "0.607",
        "0.28",
    ]
    assert "Other: some picker" in table.caption(report)


def test_a_single_round_has_no_ends() -> None:
    report = make_report(compared_with="some picker", other=[0.84])
    assert table.costs(report).lines[0][3] == "0.84"


def test_latency_is_told_of_both_pickers() -> None:
    lines = table.service(make_report(other=[1.0])).lines
    assert [line[1] for line in lines] == ["ours", "other", "ours", "other"]
    assert lines[0][2:5] == ["1", "2", "3"]


def test_doubts_about_figures_are_told() -> None:
    report = make_report(other=[1.0])
    report.rows[0].other.append(Sample(value=1.0, problems={"status 500": 7}, load_cores=0.95))
    notes = table.notes(report)
    assert any("other: 7 x status 500" in note for note in notes)
    assert any("load generator" in note for note in notes)


def test_a_table_reads_the_same_as_markdown_and_on_a_terminal() -> None:
    found = table.costs(make_report())
    markdown = found.markdown().splitlines()
    assert len(markdown) == 2 + len(found.lines)
    assert len({line.count("|") for line in markdown}) == 1
    text = io.StringIO()
    found.print(Console(file=text, width=160))
    assert "0.42 (0.4 - 0.44)" in text.getvalue()
