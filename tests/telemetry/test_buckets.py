from __future__ import annotations

from itertools import pairwise

import pytest

from epp.telemetry import buckets

BOUNDS = {name: bounds for name, bounds in vars(buckets).items() if name.isupper()}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_ascend(name: str) -> None:
    bounds = BOUNDS[name]
    assert all(low < high for low, high in pairwise(bounds))
    assert len(bounds) >= 10
