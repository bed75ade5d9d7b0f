from __future__ import annotations

import pytest

from epp.plugins.scorers.lora_affinity import LoraAffinityScorer
from tests.fakes import make_endpoint, make_request


@pytest.mark.parametrize(
    ("active", "waiting", "most", "score"),
    [
        ({"t"}, set(), 1, 1.0),
        ({"t"}, {"t"}, 0, 1.0),
        ({"x"}, set(), 2, 0.8),
        (set(), {"t"}, 2, 0.8),
        ({"x"}, {"t"}, 2, 0.6),
        ({"x"}, {"y"}, 2, 0.0),
        ({"m"}, set(), 1, 0.0),
        (set(), set(), 0, 0.0),
    ],
)
def test_the_target_models_adapter_is_looked_for(
    active: set[str], waiting: set[str], most: int, score: float
) -> None:
    endpoint = make_endpoint(
        "a",
        active_models=frozenset(active),
        waiting_models=frozenset(waiting),
        max_active_models=most,
    )
    request = make_request(model="m", target="t")
    assert LoraAffinityScorer().score(request, [endpoint]) == [score]
