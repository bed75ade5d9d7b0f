from __future__ import annotations

import pytest

from epp.plugins.pickers.params import PickerParams


@pytest.mark.parametrize(("given", "limit"), [(1, 1), (3, 3), (0, 1), (-5, 1)])
def test_at_least_one_endpoint_is_wanted(given: int, limit: int) -> None:
    assert PickerParams(max_num_of_endpoints=given).limit == limit


def test_one_endpoint_is_the_default() -> None:
    assert PickerParams().limit == 1
