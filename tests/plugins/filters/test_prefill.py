from __future__ import annotations

from epp.core.roles import ROLE_LABEL
from epp.plugins.filters.prefill import PrefillFilter
from tests.fakes import make_endpoint, make_request

ENDPOINTS = [
    make_endpoint("unlabelled"),
    *(
        make_endpoint(role, labels={ROLE_LABEL: role})
        for role in ("decode", "prefill", "both", "encode", "encode-prefill", "other")
    ),
]


def test_the_endpoints_that_can_prefill_stay() -> None:
    kept = [e.name for e in PrefillFilter().filter(make_request(), ENDPOINTS)]
    assert kept == ["prefill", "both", "encode-prefill"]
