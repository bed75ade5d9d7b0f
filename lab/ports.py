"""Free loopback ports.

Theory of operation: binding port 0 hands out ports of the ephemeral range, which the kernel also
gives to outgoing connections; under load a port found free that way can be taken again before (or,
when a process restarts, after) its owner listens. So numbers are drawn below that range and proven
free by binding them, and a number is handed out once per process.
"""

from __future__ import annotations

import contextlib
import random
import socket

_LOWEST, _HIGHEST = 10_240, 32_000
_ATTEMPTS = 400


class PortAllocator:
    """Hands out ports that nothing listens on, each number once."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._random = random.Random()

    def port(self) -> int:
        """One free port."""
        return self.range(1)[0]

    def ports(self, count: int) -> list[int]:
        """Free ports, not necessarily neighbours."""
        return [self.port() for _ in range(count)]

    def range(self, count: int) -> list[int]:
        """Free ports with consecutive numbers.

        Raises:
            OSError: no such range was found.
        """
        for _ in range(_ATTEMPTS):
            first = self._random.randrange(_LOWEST, _HIGHEST - count)
            wanted = list(range(first, first + count))
            if self._taken.isdisjoint(wanted) and _all_free(wanted):
                self._taken.update(wanted)
                return wanted
        raise OSError(f"no {count} free consecutive ports between {_LOWEST} and {_HIGHEST}")


def _all_free(ports: list[int]) -> bool:
    with contextlib.ExitStack() as stack:
        for port in ports:
            # Every address, as a process may listen on 0.0.0.0 where another has 127.0.0.1.
            for address in ("", "127.0.0.1"):
                probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                try:
                    probe.bind((address, port))
                except OSError:
                    return False
                probe.close()
    return True


_ALLOCATOR = PortAllocator()

free_port = _ALLOCATOR.port
free_ports = _ALLOCATOR.ports
free_range = _ALLOCATOR.range
