from __future__ import annotations

import msgspec
import pytest

from benchmarks import keep
from benchmarks.figures import Report
from tests.benchmarks.reports import make_report


def test_figures_replace_what_stands_between_the_markers() -> None:
    first = keep.with_figures(keep.README.read_text(), make_report())
    again = keep.with_figures(first, make_report())
    assert again == first
    assert "Some CPU" in first
    assert "0.42 (0.4 - 0.44)" in first
    assert first.startswith("# What the picker costs")


def test_a_text_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        keep.with_figures("no markers", make_report())


def test_kept_figures_can_be_read_again() -> None:
    report = make_report(other=[1.0])
    assert msgspec.json.decode(keep.encode(report), type=Report) == report


def test_the_readme_shows_the_kept_figures() -> None:
    kept = msgspec.json.decode(keep.KEPT.read_bytes(), type=Report)
    text = keep.README.read_text()
    assert keep.with_figures(text, kept) == text
