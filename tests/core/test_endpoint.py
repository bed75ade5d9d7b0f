from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoint import join_host_port, split_host_port
from tests.fakes import endpoints, make_endpoint


@pytest.mark.parametrize(
    ("address", "destination"),
    [
        ("10.0.0.1", "10.0.0.1:8000"),
        ("2001:db8::1", "[2001:db8::1]:8000"),
        ("::1", "[::1]:8000"),
    ],
)
def test_a_destination_is_address_and_port(address: str, destination: str) -> None:
    assert make_endpoint("a", address=address).destination == destination


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", None)),
        ("10.0.0.1:8000", ("10.0.0.1", 8000)),
        (" 10.0.0.1:8000 ", ("10.0.0.1", 8000)),
        ("10.0.0.1:", ("10.0.0.1", None)),
        ("10.0.0.1:http", ("10.0.0.1", -1)),
        ("10.0.0.1:-1", ("10.0.0.1", -1)),
        ("10.0.0.1:²", ("10.0.0.1", -1)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("[2001:db8::1]:8000", ("2001:db8::1", 8000)),
        ("[2001:db8::1]:x", ("2001:db8::1", -1)),
        ("", ("", None)),
    ],
)
def test_host_and_port_are_told_apart(text: str, expected: tuple[str, int | None]) -> None:
    assert split_host_port(text) == expected


@given(st.ip_addresses().map(str), st.integers(0, 65535))
def test_joining_and_splitting_are_inverse(address: str, port: int) -> None:
    assert split_host_port(join_host_port(address, port)) == (address, port)


@given(st.text())
def test_splitting_never_raises(text: str) -> None:
    split_host_port(text)


def test_endpoints_are_told_apart_by_identity() -> None:
    one, other = make_endpoint("a"), make_endpoint("a")
    assert len({one, other}) == 2


def test_a_world_of_endpoints_is_made_from_queue_sizes() -> None:
    made = endpoints(2, 6, 10)
    assert [(e.id, e.destination, e.metrics.waiting_queue_size) for e in made] == [
        ("default/a", "10.0.0.1:8000", 2),
        ("default/b", "10.0.0.2:8000", 6),
        ("default/c", "10.0.0.3:8000", 10),
    ]
