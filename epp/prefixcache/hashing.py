"""Chained block hashes: equal hashes mean an equal prompt up to and including that block."""

from __future__ import annotations

from xxhash import xxh64_digest, xxh64_intdigest


def block_hashes(
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
