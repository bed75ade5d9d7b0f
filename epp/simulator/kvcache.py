"""The KV cache as block hashes: used blocks are counted, unused ones wait to be used again.

Only full blocks of prompt tokens are stored; generated tokens never are.

Source: llm-d-inference-sim v0.7.1, KV cache; the adapter's name as part of every hash is of later
releases, without it two adapters would share blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from epp.simulator.errors import ApiError

_HASH_BYTES = 8


class Reservation(msgspec.Struct, frozen=True, eq=False):
    """The blocks that one running request holds."""

    blocks: Sequence[bytes]


class KVCache:
    """Blocks of one model server; ``capacity_blocks`` counts used and unused ones together."""

    def __init__(self, capacity_blocks: int, block_size_tokens: int) -> None:
        self._capacity_blocks = capacity_blocks
        self._block_size_tokens = block_size_tokens
        self._used: dict[bytes, int] = {}
        self._unused: dict[bytes, None] = {}  # oldest use first
        self._reservations: set[Reservation] = set()
        self.is_awake = True

    @property
    def usage_ratio(self) -> float:
        """Used blocks of all; unused blocks that are still cached do not count."""
        return len(self._used) / self._capacity_blocks if self._capacity_blocks else 0.0

    def cached_tokens(self, blocks: Sequence[bytes]) -> int:
        """Prompt tokens whose blocks are in the cache, prefix or not."""
        hits = sum(block in self._used or block in self._unused for block in blocks)
        return hits * self._block_size_tokens

    def start(self, blocks: Sequence[bytes]) -> Reservation:
        """Hold the blocks of a request, evicting unused blocks where there is no space.

        Raises:
            ApiError: the blocks do not fit beside the used ones.
        """
        if not self.is_awake:
            return Reservation(())
        added = [block for block in blocks if block not in self._used]
        if len(self._used) + len(added) > self._capacity_blocks:
            raise ApiError(
                "the kv cache does not have sufficient capacity to store this request", status=500
            )
        for block in added:
            self._unused.pop(block, None)
        for block in blocks:
            self._used[block] = self._used.get(block, 0) + 1
        while len(self._used) + len(self._unused) > self._capacity_blocks:
            del self._unused[next(iter(self._unused))]
        reservation = Reservation(blocks)
        self._reservations.add(reservation)
        return reservation

    def finish(self, reservation: Reservation) -> None:
        """Let go of a request's blocks; blocks without a holder stay cached until evicted."""
        if reservation not in self._reservations:
            return  # dropped by ``sleep`` meanwhile
        self._reservations.discard(reservation)
        # The end of a prompt is evicted first: without its beginning it is of no use to anyone.
        for block in reversed(reservation.blocks):
            self._used[block] -= 1
            if not self._used[block]:
                del self._used[block]
                self._unused[block] = None

    def sleep(self) -> None:
        """Drop everything, and store nothing until ``is_awake`` is set again."""
        self._used.clear()
        self._unused.clear()
        self._reservations.clear()
        self.is_awake = False


def block_hashes(
    tokens: Sequence[str], block_size_tokens: int, *, seed: str, model: str
) -> list[bytes]:
    """A 64-bit hash per full block; each depends on all blocks before it."""
    previous = blake2b(f"{seed}\0{model}".encode(), digest_size=_HASH_BYTES).digest()
    hashes = []
    for start in range(0, len(tokens) - block_size_tokens + 1, block_size_tokens):
        # No token contains NUL, so a block's text has only one reading.
        text = "\0".join(tokens[start : start + block_size_tokens])
        block = blake2b(text.encode(), key=previous, digest_size=_HASH_BYTES)
        previous = block.digest()
        hashes.append(previous)
    return hashes
