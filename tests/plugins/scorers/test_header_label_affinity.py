from __future__ import annotations

import pytest

from epp.plugins.scorers.header_label_affinity import (
    HeaderLabelAffinityScorer,
    HeaderLabelAffinityScorerParams,
)
from tests.fakes import make_endpoint, make_handle, make_request

ENDPOINTS = [
    make_endpoint("a", labels={"tier": "gold"}),
    make_endpoint("b", labels={"tier": "silver"}),
    make_endpoint("c", labels={"tier": ""}),
    make_endpoint("d"),
]


@pytest.mark.parametrize(
    ("headers", "scores"),
    [
        ({"x-tier": b"gold"}, [1.0, 0.0, 0.0, 0.0]),
        ({"x-tier": b"silver"}, [0.0, 1.0, 0.0, 0.0]),
        ({"x-tier": b"Gold"}, [0.0] * 4),
        ({"x-tier": b"\xff"}, [0.0] * 4),
        ({"x-tier": b""}, [0.0] * 4),
        ({}, [0.0] * 4),
    ],
)
def test_the_label_must_be_what_the_header_says(
    headers: dict[str, bytes], scores: list[float]
) -> None:
    params = HeaderLabelAffinityScorerParams(header_name="X-Tier", label_key="tier")
    scorer = HeaderLabelAffinityScorer(params, make_handle())
    assert scorer.score(make_request(headers=headers), ENDPOINTS) == scores
