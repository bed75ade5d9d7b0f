from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.prefixcache.hashing import HEAD, BlockHasher

HASHER = BlockHasher()


def hashes(
    text: bytes,
    *,
    model: str = "m",
    salt: str = "",
    block: int = 4,
    limit: int = 10_000,
    rest: bool = False,
) -> list[int]:
    made = HASHER.hashes(
        text, model=model, cache_salt=salt, block_bytes=block, max_blocks=limit, with_rest=rest
    )
    return [int(value) for value in made]


def test_no_more_blocks_than_the_limit_are_hashed() -> None:
    assert hashes(b"aaaabbbbcccc", limit=2) == hashes(b"aaaabbbb")


@pytest.mark.parametrize("block", [1, 3, 4, 5, 8, 13, 64])
@pytest.mark.parametrize("blocks", [1, HEAD - 1, HEAD, HEAD + 1, HEAD + 50])
def test_a_prefix_has_the_same_hashes_in_a_longer_prompt(block: int, blocks: int) -> None:
    text = Random(block).randbytes(block * (HEAD + 100))
    whole = hashes(text, block=block)
    assert hashes(text[: blocks * block + block // 2], block=block) == whole[:blocks]
    assert len(whole) == HEAD + 100


@pytest.mark.parametrize("blocks", [0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + 50])
def test_a_rest_is_a_block_of_its_own_and_changes_no_other(blocks: int) -> None:
    text = Random(5).randbytes(8 * blocks)
    whole = hashes(text, block=8)
    ends = [b"abc", b"abd", b"abc\0", b"abc\0\0\0\0\0", b"ab"]
    made = [hashes(text + end, block=8, rest=True) for end in ends]
    assert all(found[:-1] == whole for found in made)
    assert len({found[-1] for found in made}) == len(ends)
    assert hashes(text, block=8, rest=True) == whole


def test_a_rest_behind_the_limit_does_not_count() -> None:
    assert hashes(b"aaaabb", limit=1, rest=True) == hashes(b"aaaa")
    assert len(hashes(b"aaaabb", limit=2, rest=True)) == 2


def test_blocks_of_several_sizes_do_not_disturb_each_other() -> None:
    text = bytes(1000) + Random(1).randbytes(70_000)
    before = hashes(text, block=8)
    hashes(text, block=200)
    hashes(text * 3, block=8)
    assert hashes(text, block=8) == before


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


@pytest.mark.parametrize("content", [bytes(64), b"\xff" * 64, b"a" * 64])
def test_equal_blocks_have_different_hashes_at_every_position(content: bytes) -> None:
    assert len(set(hashes(content * 2000, block=64))) == 2000


@pytest.mark.parametrize("first", [0, HEAD])
def test_swapped_blocks_differ_however_far_apart(first: int) -> None:
    text = bytearray(Random(2).randbytes(64 * 5000))
    for distance in (1, 2, 16, 256, 1024, 4096):
        swapped = bytearray(text)
        one = slice(first * 64, first * 64 + 64)
        other = slice((first + distance) * 64, (first + distance) * 64 + 64)
        swapped[one], swapped[other] = text[other], text[one]
        left, right = hashes(bytes(text), block=64), hashes(bytes(swapped), block=64)
        assert left[:first] == right[:first]
        assert not set(left[first:]) & set(right[first:])


@pytest.mark.parametrize("at", [0, HEAD])
def test_flipping_any_one_or_two_bits_of_a_block_changes_its_hash(at: int) -> None:
    # The upper bits of words are the weak ones of products modulo a power of two.
    text = Random(3).randbytes(64 * (at + 1))
    bits = [8 * byte + bit for byte in range(3, 64, 4) for bit in (0, 6, 7)]
    seen = {hashes(text, block=64)[-1]}
    changes = [(bit,) for bit in range(512)] + list(itertools.combinations(bits, 2))
    for change in changes:
        changed = bytearray(text)
        for bit in change:
            changed[64 * at + bit // 8] ^= 1 << bit % 8
        seen.add(hashes(bytes(changed), block=64)[-1])
    assert len(seen) == len(changes) + 1


@pytest.mark.parametrize("at", [0, HEAD])
def test_differences_in_two_blocks_do_not_cancel(at: int) -> None:
    text = Random(4).randbytes(16 * (at + 2))
    seen = set()
    for left, right in itertools.product(range(-20, 20), repeat=2):
        changed = bytearray(text)
        for start, change in ((16 * at, left), (16 * at + 16, right)):
            number = int.from_bytes(text[start : start + 16], "little") + change
            changed[start : start + 16] = (number % (1 << 128)).to_bytes(16, "little")
        seen.add(hashes(bytes(changed), block=16)[-1])
    assert len(seen) == 1600


@pytest.mark.parametrize("first", [0, HEAD])
def test_blocks_in_the_order_of_thue_and_morse_do_not_cancel(first: int) -> None:
    """Sums over powers of an odd number would: modulo 2**64, and whatever the number is."""
    order = [number.bit_count() % 2 for number in range(2048)]
    head, pair = bytes(first * 8), (b"a" * 8, b"b" * 8)
    one = head + b"".join(pair[bit] for bit in order)
    other = head + b"".join(pair[1 - bit] for bit in order)
    assert hashes(one, block=8)[-1] != hashes(other, block=8)[-1]


@pytest.mark.parametrize("bit", [0, 1, 31, 32, 63])
def test_every_bit_of_a_hash_is_even(bit: int) -> None:
    made = hashes(bytes(64 * 6000), block=64)
    ones = sum(value >> bit & 1 for value in made)
    # Seven standard deviations of 6,000 throws.
    assert abs(ones - 3000) < 270


def test_model_salt_and_hasher_set_hashes_apart() -> None:
    text = bytes(4 * (HEAD + 10))
    made = [hashes(text), hashes(text, model="n"), hashes(text, salt="s")]
    other = BlockHasher().hashes(text, model="m", cache_salt="", block_bytes=4, max_blocks=1000)
    assert len({*itertools.chain(*made), *map(int, other)}) == 4 * (HEAD + 10)


@given(st.text(), st.text(), st.binary(max_size=20))
def test_any_model_and_salt_can_be_hashed(model: str, salt: str, text: bytes) -> None:
    assert len(hashes(text, model=model, salt=salt)) == len(text) // 4


def test_a_lone_surrogate_in_a_name_does_no_harm() -> None:
    assert len(hashes(b"aaaa", model="\ud800")) == 1
