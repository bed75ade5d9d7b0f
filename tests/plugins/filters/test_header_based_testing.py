from __future__ import annotations

import pytest

from epp.plugins.filters.header_based_testing import HeaderBasedTestingFilter
from tests.fakes import make_endpoint, make_request

ENDPOINTS = [
    make_endpoint("a", address="10.0.0.1", port=8000),
    make_endpoint("a-1", address="10.0.0.1", port=8001),
    make_endpoint("b", address="10.0.0.2", port=8000),
    make_endpoint("six", address="2001:db8::1", port=8000),
]


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (b"10.0.0.2", ["b"]),
        (b"10.0.0.2,10.0.0.1", ["b", "a"]),
        (b" 10.0.0.2:8000 , 10.0.0.1:8001 ", ["b", "a-1"]),
        (b"10.0.0.1:8000,10.0.0.1:8001", ["a", "a-1"]),
        (b"10.0.0.1,10.0.0.1", ["a"]),
        (b"10.0.0.1:9", []),
        (b"10.0.0.1:x", []),
        (b"10.0.0.9,10.0.0.2", ["b"]),
        (b"[2001:db8::1]:8000", ["six"]),
        (b"[2001:db8::1]", ["six"]),
        (b",,", []),
        (b"", []),
        (b"\xff", []),
    ],
)
def test_the_header_names_the_endpoints_in_its_order(header: bytes, kept: list[str]) -> None:
    request = make_request(headers={"test-epp-endpoint-selection": header})
    assert [e.name for e in HeaderBasedTestingFilter().filter(request, ENDPOINTS)] == kept


def test_without_the_header_nobody_is_left() -> None:
    assert HeaderBasedTestingFilter().filter(make_request(), ENDPOINTS) == []
