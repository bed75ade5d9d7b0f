from __future__ import annotations

import pytest

from epp.core.decision import SchedulingResult
from epp.core.response import ResponseStart
from epp.plugins.hooks.destination_endpoint_served import DestinationEndpointServedVerifier
from tests.fakes import endpoints, make_request, make_run

MEMBERS = endpoints(0)
RESULT = SchedulingResult("p", {"p": make_run(*MEMBERS, picked=MEMBERS)})


@pytest.mark.parametrize(
    ("response", "value"),
    [
        (ResponseStart({}, "10.0.0.9:80", True), b"10.0.0.9:80"),
        (ResponseStart({}, "", True), b"fail: missing destination endpoint served metadata"),
        (ResponseStart({}), b"fail: missing envoy lb metadata"),
    ],
)
def test_the_client_is_told_what_the_proxy_says(response: ResponseStart, value: bytes) -> None:
    verifier = DestinationEndpointServedVerifier()
    assert list(verifier.response_headers(make_request(None), RESULT, response)) == [
        ("x-conformance-test-served-endpoint", value)
    ]
