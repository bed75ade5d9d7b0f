"""An LRU of block hashes per endpoint, and the way back from a hash to its endpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class PrefixIndex:
    """Which endpoint has probably cached which block.

    Per endpoint an ordered dict (oldest first) bounded by its capacity: a plain dict would walk
    over everything it once dropped to find its first key. ``_holders`` maps a hash to the endpoints
    that hold it. ``len()`` is the number of (block, endpoint) entries.

    Source: gateway-api-inference-extension 2aaf2a6, multi/prefix/indexer.go.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, OrderedDict[int, None]] = {}
        self._capacity: dict[str, int] = {}
        self._holders: dict[int, set[str]] = {}
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def match(self, hashes: Sequence[int]) -> dict[str, int]:
        """How many of the blocks each endpoint holds, up to the first block that nobody holds.

        An endpoint that lacks one block but holds a later one is still counted for the later one,
        as the reference does.
        """
        counts: dict[str, int] = {}
        holders = self._holders
        for value in hashes:
            endpoints = holders.get(value)
            if endpoints is None:
                break
            for endpoint in endpoints:
                counts[endpoint] = counts.get(endpoint, 0) + 1
        return counts

    def add(self, endpoint_id: str, hashes: Iterable[int], *, capacity: int) -> None:
        """The endpoint has these blocks now, the last one most recently.

        ``capacity`` (blocks, positive) counts only when the endpoint is new.
        """
        blocks = self._blocks.setdefault(endpoint_id, OrderedDict())
        limit = self._capacity.setdefault(endpoint_id, capacity)
        holders = self._holders
        before = len(blocks)
        for value in hashes:
            if value in blocks:
                blocks.move_to_end(value)
            else:
                blocks[value] = None
                holders.setdefault(value, set()).add(endpoint_id)
        while len(blocks) > limit:
            oldest, _ = blocks.popitem(last=False)
            self._release(oldest, endpoint_id)
        self._entries += len(blocks) - before

    def remove(self, endpoint_id: str) -> None:
        """Forget an endpoint with all its blocks; unknown ids are no error."""
        blocks = self._blocks.pop(endpoint_id, OrderedDict())
        self._capacity.pop(endpoint_id, None)
        for value in blocks:
            self._release(value, endpoint_id)
        self._entries -= len(blocks)

    def _release(self, value: int, endpoint_id: str) -> None:
        endpoints = self._holders[value]
        endpoints.discard(endpoint_id)
        if not endpoints:
            del self._holders[value]
