from __future__ import annotations

from collections import Counter

from epp.plugins.pickers.params import PickerParams
from epp.plugins.pickers.random import RandomPicker
from tests.fakes import endpoints, make_handle


def test_everybody_is_equally_likely_whatever_the_totals() -> None:
    picker = RandomPicker(PickerParams(), make_handle())
    members = endpoints(0, 0, 0)
    counts = Counter(picker.pick(members, [9.0, 0.0, -1.0])[0].name for _ in range(900))
    assert all(200 < counts[name] < 400 for name in "abc")
