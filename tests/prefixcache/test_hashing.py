from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.prefixcache.hashing import BlockHasher
from tests.prefixcache.plain import keyed_hashes

HASHER = BlockHasher(b"a secret of the tests")
BLOCK = 64


def hashes(
    text: bytes, *, model: str = "m", salt: str = "", block: int = BLOCK, limit: int = 1 << 30
) -> list[int]:
    made = HASHER.hashes(text, model=model, cache_salt=salt, block_bytes=block, max_blocks=limit)
    return [int(value) for value in made]


@given(st.binary(max_size=300), st.integers(1, 70), st.text(max_size=3), st.text(max_size=3))
def test_numpy_computes_what_the_formula_says(
    text: bytes, block: int, model: str, salt: str
) -> None:
    plain = keyed_hashes(HASHER, text, model=model, cache_salt=salt, block_bytes=block)
    assert hashes(text, model=model, salt=salt, block=block) == plain


@pytest.mark.parametrize("block", [4, 63, 64])
def test_the_hashes_of_a_start_do_not_depend_on_what_follows(block: int) -> None:
    text = np.random.default_rng(1).bytes(100_000)
    whole = hashes(text, block=block)
    for blocks in (1, 3, 16, 17, 500):
        assert hashes(text[: blocks * block], block=block) == whole[:blocks]
        assert hashes(text, block=block, limit=blocks) == whole[:blocks]


def test_a_partial_last_block_is_dropped() -> None:
    assert hashes(b"aaaabbbbcc", block=4) == hashes(b"aaaabbbb", block=4)
    assert hashes(b"aaa", block=4) == hashes(b"", block=4) == []


def test_two_hashers_agree_only_if_they_have_the_same_secret() -> None:
    one, same, other = [
        set(hasher.hashes(b"x" * 640, model="m", cache_salt="", block_bytes=64, max_blocks=99))
        for hasher in (BlockHasher(b"1"), BlockHasher(b"1"), BlockHasher())
    ]
    assert one == same
    assert not one & other


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 8))
def test_a_common_prefix_has_common_hashes_and_nothing_else_has(
    one: bytes, other: bytes, block: int
) -> None:
    common = 0
    while one[common : common + block] == other[common : common + block] and (
        common + block <= min(len(one), len(other))
    ):
        common += block
    left, right = hashes(one, block=block), hashes(other, block=block)
    assert left[: common // block] == right[: common // block]
    assert not set(left[common // block :]) & set(right[common // block :])


def test_another_model_salt_or_block_size_shares_nothing() -> None:
    text = bytes(640)
    made = [
        hashes(text),
        hashes(text, model="other"),
        hashes(text, salt="salt"),
        hashes(text, block=32),
        hashes(text, block=63),
        hashes(text, block=1),
    ]
    assert len(set().union(*made)) == sum(map(len, made))


@given(st.text(), st.text(), st.binary(max_size=20))
def test_any_model_and_salt_can_be_hashed(model: str, salt: str, text: bytes) -> None:
    assert len(hashes(text, model=model, salt=salt, block=4)) == len(text) // 4


def test_a_lone_surrogate_in_a_name_does_no_harm() -> None:
    assert len(hashes(b"aaaa", model="\ud800", block=4)) == 1


def edits(*changes: tuple[int, int]) -> bytes:
    """A block of spaces, but with other bits where the changes (bit, mask of a byte) say so."""
    block = bytearray(b" " * BLOCK)
    for place, mask in changes:
        block[place] ^= mask
    return bytes(block)


def blocks_that_differ_a_little() -> Iterator[bytes]:
    """One or two single bits anywhere; two whole bytes at the ends of words; sums that cancel."""
    single = [(place, 1 << bit) for place in range(BLOCK) for bit in range(8)]
    yield edits()
    for i, one in enumerate(single):
        yield edits(one)
        # Two equal bits of different words: what a sum of odd products would cancel.
        yield from [edits(one, other) for other in single[i + 1 :] if other[1] == one[1]]
    for place in range(3, BLOCK, 4):
        for other in range(place + 4, BLOCK, 4):
            yield from [edits((place, m), (other, n)) for m in (3, 24) for n in (5, 129)]
    words = np.full(BLOCK // 4, 0x20202020, np.uint32)
    for i in range(len(words) - 1):
        for delta in (1, 3, 1 << 16, 1 << 30):
            changed = words.copy()
            changed[i : i + 1] += np.uint32(delta)
            changed[i + 1 : i + 2] -= np.uint32(delta)
            yield changed.tobytes()


def test_blocks_that_differ_a_little_have_hashes_of_their_own() -> None:
    made = set(blocks_that_differ_a_little())
    assert len(made) > 15_000
    assert len({hashes(block)[0] for block in made}) == len(made)
    # The same as the second one of two blocks, after which all is equal again.
    ends = [hashes(b"a" * BLOCK + block + b"z" * BLOCK)[-1] for block in list(made)[:2000]]
    assert len(set(ends)) == len(ends)


@pytest.mark.parametrize("distance", [1 << n for n in range(13)])
def test_two_blocks_that_change_places_change_the_hash(distance: int) -> None:
    blocks = [b"%064d" % i for i in range(distance + 2)]
    swapped = list(blocks)
    swapped[0], swapped[distance] = swapped[distance], swapped[0]
    one, other = hashes(b"".join(blocks)), hashes(b"".join(swapped))
    assert not set(one) & set(other)


def thue_morse(length: int) -> list[int]:
    return [i.bit_count() & 1 for i in range(length)]


def test_blocks_in_thue_morse_order_do_not_collide_with_their_exchange() -> None:
    order = thue_morse(4096)
    for number in (3, 5, 0x9E3779B97F4A7C15, 0xFFFFFFFFFFFFFFFF):
        # What powers of one odd number make of it, whatever the blocks are.
        signed = [(1 - 2 * bit) * pow(number, i, 1 << 64) for i, bit in enumerate(order)]
        assert sum(signed[:1024]) % (1 << 64) == 0
    texts = [
        b"".join([pair[bit] * BLOCK for bit in order]) for pair in ((b"a", b"b"), (b"b", b"a"))
    ]
    one, other = map(hashes, texts)
    assert not set(one) & set(other)


@pytest.mark.parametrize("block", [bytes(BLOCK), b"\xff" * BLOCK, b"a" * BLOCK])
def test_every_repetition_of_a_block_has_a_hash_of_its_own(block: bytes) -> None:
    assert len(set(hashes(block * 5000))) == 5000


@pytest.mark.parametrize("block", [1, 2, 3, 63, 65])
def test_zeros_at_the_end_of_a_block_are_not_padding(block: int) -> None:
    made = [hashes(b"\1" * blocks + bytes(block * 8), block=block)[:8] for blocks in range(8)]
    assert len({tuple(row) for row in made}) == 8
    assert len({row[-1] for row in made}) == 8


@pytest.mark.parametrize("text", [bytes(1 << 20), b"word " * 200_000], ids=["zeros", "words"])
@pytest.mark.parametrize("shift", [0, 20, 32, 52])
def test_every_part_of_the_bits_is_spread_evenly(text: bytes, shift: int) -> None:
    parts = np.array(hashes(text), np.uint64) >> np.uint64(shift) & np.uint64(63)
    counts = np.bincount(parts.astype(np.int64), minlength=64)
    expected = len(parts) / 64
    # The chance of a failure, over all texts and secrets, is below one in a million.
    assert ((counts - expected) ** 2 / expected).sum() < 140
