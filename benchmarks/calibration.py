"""Fixed pieces of work that tell how fast this machine is just now.

CPU time of the same code differs by a factor between machines, and by a third within a minute on a
shared one. Its ratio to work of the same kind, timed right before and after it, does not: so the
kept figures of ``python -m benchmarks.check`` are such ratios. They hold for one minor version of
Python, whose speed is part of both. Changing anything here makes all kept figures worthless.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

_WORDS = b"Content-Type: application/json; charset=utf-8, x-request-id: 0123456789abcdef".split()
_PROSE = b" ".join(b"%d words of prose" % number for number in range(24_000))  # 500 kB
_NOT_FOUND = re.compile(rb'"stream"\s*:\s*true')


Calibration = Callable[[], None]


class _Item:
    __slots__ = ("name", "size")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size

    def weight(self, factor: float) -> float:
        return self.size * factor


def interpreter() -> None:
    """About 6 us of what deciding is made of: small objects, calls, dictionaries, short texts."""
    known: dict[str, _Item] = {}
    total = 0.0
    for number in range(6):
        for word in _WORDS:
            name = word.lower().decode()
            item = known.get(name)
            if item is None:
                known[name] = item = _Item(name, len(word))
            total += item.weight(0.5 + number)
    ordered = sorted(known.values(), key=lambda item: item.size)
    assert total > len(f"{ordered[0].name}:{total:.3f}")


def bulk() -> None:
    """About 220 us over half a megabyte, as for long prompts: copy, search, decode, checksum."""
    copy = _PROSE[1:] + b"."
    assert _NOT_FOUND.search(copy) is None
    assert len(copy.decode()) + (zlib.crc32(copy) & 1) > 0
