from __future__ import annotations

import socket

from lab.ports import PortAllocator


def test_ports_are_distinct() -> None:
    allocator = PortAllocator()
    ports = [*allocator.ports(20), *allocator.range(20), allocator.port()]
    assert len(set(ports)) == 41


def test_a_range_is_consecutive_and_can_be_bound() -> None:
    ports = PortAllocator().range(5)
    assert ports == list(range(ports[0], ports[0] + 5))
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
