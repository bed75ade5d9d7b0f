"""The plain versions of the room: chained XXH64, and dictionaries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from xxhash import xxh64_digest, xxh64_intdigest


def chained_hashes(
    text: bytes, *, model: str, cache_salt: str, block_bytes: int, max_blocks: int
) -> tuple[int, ...]:
    """One 64-bit hash per full block of ``text``, at most ``max_blocks``.

    h(0) = XXH64(model + salt), h(i) = XXH64(block(i) + h(i-1) as 8 bytes little-endian); h(0) only
    seeds the chain. A partial last block is dropped.

    Source: gateway-api-inference-extension 2aaf2a6, multi/prefix/plugin.go; xxHash specification.
    """
    blocks = min(len(text) // block_bytes, max_blocks)
    # digest() is big-endian, so [::-1] is the little-endian link of the chain
    link = xxh64_digest((model + cache_salt).encode("utf-8", "replace"))[::-1]
    hashes: list[int] = []
    for start in range(0, blocks * block_bytes, block_bytes):
        value = xxh64_intdigest(text[start : start + block_bytes] + link)
        link = value.to_bytes(8, "little")
        hashes.append(value)
    return tuple(hashes)


def chained_token_hashes(
    tokens: bytes, *, model: str, cache_salt: str, block_bytes: int, max_blocks: int
) -> tuple[int, ...]:
    """One 64-bit hash per block of tokens (four bytes each), a partial last one included.

    b(i) = XXH64(block(i)), h(i) = XXH64(b(i) + h(i-1)), both as 8 bytes little-endian.

    Source: llm-d-router v0.10, dataproducer/prefixhash.
    """
    link = xxh64_digest((model + cache_salt).encode("utf-8", "replace"))[::-1]
    hashes: list[int] = []
    for start in range(0, len(tokens), block_bytes)[:max_blocks]:
        block = xxh64_digest(tokens[start : start + block_bytes])[::-1]
        value = xxh64_intdigest(block + link)
        link = value.to_bytes(8, "little")
        hashes.append(value)
    return tuple(hashes)


class PlainIndex:
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
