from __future__ import annotations

from collections import Counter

import pytest

from epp.plugins.pickers.max_score import MaxScorePicker
from epp.plugins.pickers.params import PickerParams
from tests.fakes import endpoints, make_handle


def picker(limit: int = 1) -> MaxScorePicker:
    return MaxScorePicker(PickerParams(max_num_of_endpoints=limit), make_handle())


@pytest.mark.parametrize(
    ("totals", "limit", "expected"),
    [
        ([1.0, 3.0, 2.0], 1, ["b"]),
        ([1.0, 3.0, 2.0], 2, ["b", "c"]),
        ([1.0, 3.0, 2.0], 9, ["b", "c", "a"]),
        ([-3.0, -1.0, -2.0], 1, ["b"]),
        ([-3.0, -1.0, -2.0], 2, ["b", "c"]),
    ],
)
def test_the_highest_totals_win(totals: list[float], limit: int, expected: list[str]) -> None:
    picked = picker(limit).pick(endpoints(0, 0, 0), totals)
    assert [endpoint.name for endpoint in picked] == expected


@pytest.mark.parametrize("limit", [1, 2])
def test_a_tie_is_broken_by_chance(limit: int) -> None:
    tied = picker(limit)
    members = endpoints(0, 0, 0)
    first = Counter(tied.pick(members, [1.0, 1.0, 0.0])[0].name for _ in range(400))
    assert set(first) == {"a", "b"}
    assert min(first.values()) > 100
