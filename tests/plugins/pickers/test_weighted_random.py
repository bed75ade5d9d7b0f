from __future__ import annotations

from collections import Counter

import pytest

from epp.plugins.pickers.params import PickerParams
from epp.plugins.pickers.weighted_random import WeightedRandomPicker
from tests.fakes import endpoints, make_handle

DRAWS = 2000


def shares(*totals: float) -> dict[str, float]:
    """How often each endpoint came first."""
    picker = WeightedRandomPicker(PickerParams(), make_handle())
    members = endpoints(*[0] * len(totals))
    counts = Counter(picker.pick(members, totals)[0].name for _ in range(DRAWS))
    return {member.name: counts[member.name] / DRAWS for member in members}


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ([1.0, 3.0], {"a": 0.25, "b": 0.75}),
        ([5.0, 3.0, 2.0], {"a": 0.5, "b": 0.3, "c": 0.2}),
        ([1.0, 0.0, -2.0], {"a": 1.0, "b": 0.0, "c": 0.0}),
        ([0.0, 0.0], {"a": 0.5, "b": 0.5}),
        ([-1.0, -5.0], {"a": 0.5, "b": 0.5}),
    ],
)
def test_chances_are_in_proportion_to_the_totals(
    totals: list[float], expected: dict[str, float]
) -> None:
    assert shares(*totals) == pytest.approx(expected, abs=0.05)


def test_a_total_of_nothing_comes_last() -> None:
    picker = WeightedRandomPicker(PickerParams(max_num_of_endpoints=3), make_handle())
    members = endpoints(0, 0, 0)
    for _ in range(50):
        assert picker.pick(members, [0.0, 1.0, 2.0])[-1] is members[0]
