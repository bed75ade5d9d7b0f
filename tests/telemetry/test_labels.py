from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.telemetry.labels import Limit, Series, label_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", "m"),
        ("a" * 200, "a" * 128),
        ("a" * 127 + "\u00e9", "a" * 127),
        ("\u20ac" * 50, "\u20ac" * 42),
        ("a\udcff", "a\ufffd"),
        ("\U0001f600" * 40, "\U0001f600" * 32),
    ],
)
def test_label_values_are_cut_between_characters(text: str, expected: str) -> None:
    assert label_text(text) == expected


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_becomes_a_label_value(text: str) -> None:
    once = label_text(text)
    assert len(once.encode()) <= 128
    assert label_text(once) == once


@given(st.lists(st.integers(0, 9)), st.integers(0, 5))
def test_those_who_came_first_have_a_place_for_ever(values: list[int], size: int) -> None:
    limit = Limit(size)
    first = list(dict.fromkeys(values))[:size]
    assert [limit.admits(value) for value in values] == [value in first for value in values]


def test_a_series_is_made_once_and_spelled_in_the_order_of_its_labels_names() -> None:
    series: Series[list[int]] = Series(("z", "a"), list)
    series[("1", 'q"')].append(7)
    series[("1", 'q"')].append(8)
    assert list(series.spelled()) == [('a="q\\"",z="1"', [7, 8])]
