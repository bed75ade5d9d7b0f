from __future__ import annotations

import pytest
from xxhash import xxh64_intdigest

from tests.prefixcache.plain import PlainIndex, chained_hashes, chained_token_hashes

CHAT = (
    b'[{"role":"user","content":"a\\u003cb \\u0026 c\\u003ed"},'
    b'{"role":"assistant","content":[{"type":"text","text":"hi","image_url":{}}]}]'
)


def hashes(text: bytes, *, model: str = "m", salt: str = "", block: int = 4) -> list[int]:
    chain = chained_hashes(text, model=model, cache_salt=salt, block_bytes=block, max_blocks=256)
    return list(chain)


@pytest.mark.parametrize(
    ("model", "text", "block", "salt", "expected"),
    [
        ("m", b"aaaabbbbcc", 4, "", [0x390FB08ECC2C3166, 0x38807F4DDD2B9645]),
        ("m", b"aaaabbbb", 4, "salt", [0x87597466157AA714, 0x0781E9397C581D6E]),
        ("test-model1", b"aaaaaa", 4, "", [0xCC8952E70E1C4504]),
        (
            "m",
            CHAT,
            32,
            "",
            [0x4760B9D88F0216F0, 0xC01EF11403255845, 0x7ED74B61BE53F5BB, 0x683F24A5C57E6B4E],
        ),
        ("m", b"", 4, "", []),
        ("m", b"aaa", 4, "", []),
    ],
)
def test_hashes_are_those_of_the_reference(
    model: str, text: bytes, block: int, salt: str, expected: list[int]
) -> None:
    assert hashes(text, model=model, salt=salt, block=block) == expected


@pytest.mark.parametrize(
    ("seed", "expected"),
    [("m", 0xBA2E567083A2B2E8), ("msalt", 0xD91548F60BA19B9B), ("test-model1", 0x55B9CE9184DD8509)],
)
def test_the_chain_starts_from_model_and_salt(seed: str, expected: int) -> None:
    assert xxh64_intdigest(seed.encode()) == expected
    first = xxh64_intdigest(b"aaaa" + expected.to_bytes(8, "little"))
    assert hashes(b"aaaa", model=seed) == [first]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ((1, 2, 3, 4, 5), [0xBDEADA2071943583, 0x7AACFB531261B051, 0x7E59226481D5DBC3]),
        ((1819043144, 1998597231, 1684828783, 33), [0x571866EC2AB1E505, 0xAC7817E690A262D9]),
    ],
)
def test_hashes_of_tokens_are_those_of_the_reference(
    tokens: tuple[int, ...], expected: list[int]
) -> None:
    text = b"".join(token.to_bytes(4, "little") for token in tokens)
    made = chained_token_hashes(text, model="m", cache_salt="", block_bytes=8, max_blocks=99)
    assert list(made) == expected


def test_the_plain_index_drops_what_was_used_longest_ago() -> None:
    made = PlainIndex()
    made.add("a", [1, 2], capacity=2)
    made.add("a", [1], capacity=2)
    made.add("a", [3], capacity=2)
    assert [made.match([block]) for block in (1, 2, 3)] == [{"a": 1}, {}, {"a": 1}]
