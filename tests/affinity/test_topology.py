from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.affinity.topology import LABELS, Level, Place

LABELLED = st.fixed_dictionaries(
    {}, optional={label: st.sampled_from(["", "1", "2"]) for label in LABELS.values()}
)


def at(*values: str) -> dict[str, str]:
    """Host, rack, zone and region, as far as given."""
    return {label: value for label, value in zip(LABELS.values(), values, strict=False) if value}


@pytest.mark.parametrize(
    ("other", "level"),
    [
        (at("h", "r", "z", "g"), Level.HOST),
        (at("h"), Level.HOST),
        (at("i", "r", "z", "g"), Level.RACK),
        (at("", "r"), Level.RACK),
        (at("i", "s", "z", "g"), Level.ZONE),
        (at("i", "s", "y", "g"), Level.REGION),
        (at("i", "s", "y", "f"), None),
        ({}, None),
    ],
)
def test_the_nearest_common_place_counts(other: dict[str, str], level: Level | None) -> None:
    assert Place(at("h", "r", "z", "g")).shared_with(other) == level


def test_a_place_is_told_by_the_labels_of_kubernetes() -> None:
    assert list(LABELS.items()) == [
        ("host", "kubernetes.io/hostname"),
        ("rack", "topology.kubernetes.io/rack"),
        ("zone", "topology.kubernetes.io/zone"),
        ("region", "topology.kubernetes.io/region"),
    ]


def test_what_is_farther_than_asked_for_is_not_common() -> None:
    place = Place(at("h", "r", "z", "g"), farthest=Level.RACK)
    assert place.shared_with(at("i", "r")) is Level.RACK
    assert place.shared_with(at("i", "s", "z", "g")) is None


def test_an_empty_label_is_no_place() -> None:
    nowhere = dict.fromkeys(LABELS.values(), "")
    assert Place(nowhere).shared_with(nowhere) is None
    assert Place({}).shared_with({}) is None


@given(LABELLED, LABELLED)
def test_being_near_is_mutual(one: dict[str, str], other: dict[str, str]) -> None:
    assert Place(one).shared_with(other) == Place(other).shared_with(one)
