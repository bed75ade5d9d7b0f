"""Families of prompts that share prefixes, through the index and through its plain version.

The plain versions are the reference's own: chained XXH64, of bytes or of tokens, and dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from epp.prefixcache.hashing import BlockHasher
from epp.prefixcache.index import PrefixIndex
from tests.prefixcache.plain import PlainIndex, chained_hashes, chained_token_hashes

FAMILIES_PER_WORLD = 20
PROMPTS_PER_FAMILY = 8
ALL_BLOCKS = 1 << 30


def check_families(count: int, seed: int) -> int:
    """Compare ``count`` families in many small worlds; how many matches were compared.

    Raises:
        AssertionError: the index and its plain version differ.
    """
    random = Random(seed)
    worlds = [World(random) for _ in range(-(-count // FAMILIES_PER_WORLD))]
    return sum([world.compare(FAMILIES_PER_WORLD) for world in worlds])


class World:
    """Some endpoints with small caches, a block size, and both versions of the index."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._block_bytes = random.choice([4, 7, 16, 63, 64, 64, 64, 128])
        self._endpoints = [f"e{i}" for i in range(random.choice([1, 3, 10, 100]))]
        self._capacity = random.choice([1, 5, 40, 300, 3000])
        # Settled before every step, or never full: then all is exactly as in the plain one.
        self._settles = random.random() < 0.5
        # As the producer that counts in tokens does.
        self._with_rest = random.random() < 0.4
        self._hasher = BlockHasher(random.randbytes(32))
        self._index = PrefixIndex()
        self._plain = PlainIndex()

    def compare(self, families: int) -> int:
        """Route the prompts of so many families through both."""
        prompts: list[tuple[bytes, str, str]] = []
        for _ in range(families):
            prompts += self._family()
        self._random.shuffle(prompts)
        for text, model, salt in prompts:
            self._route(text, model, salt)
        return len(prompts)

    def _route(self, text: bytes, model: str, salt: str) -> None:
        random = self._random
        size = self._block_bytes
        hashes = self._hasher.hashes(
            text,
            model=model,
            cache_salt=salt,
            block_bytes=size,
            max_blocks=ALL_BLOCKS,
            with_rest=self._with_rest,
        )
        chained = chained_token_hashes if self._with_rest else chained_hashes
        plain = chained(text, model=model, cache_salt=salt, block_bytes=size, max_blocks=ALL_BLOCKS)
        case = (text, model, salt, self._block_bytes)
        assert len(hashes) == len(plain), case
        if self._settles:
            self._index.settle()
        assert self._index.match(hashes) == self._plain.match(plain), case
        endpoint = random.choice(self._endpoints)
        capacity = random.randint(1, self._capacity) if self._settles else ALL_BLOCKS
        self._index.add(endpoint, hashes, capacity=capacity)
        self._plain.add(endpoint, plain, capacity=capacity)
        if random.random() < 0.02:
            leaving = random.choice(self._endpoints)
            self._index.remove(leaving)
            self._plain.remove(leaving)
        if self._settles:
            self._index.settle()
            assert len(self._index) == len(self._plain), case

    def _family(self) -> Iterator[tuple[bytes, str, str]]:
        """Prompts that begin like one text and differ from it somewhere, or in their context."""
        random = self._random
        blocks = random.choice([1, 3, 12, 40, 200])
        base = self._text(blocks * self._block_bytes)
        for _ in range(PROMPTS_PER_FAMILY):
            text = bytearray(base)
            if random.random() < 0.5:
                del text[random.randint(0, len(text)) :]
            if random.random() < 0.5:
                text += self._text(random.randint(0, blocks * self._block_bytes))
            for _ in range(random.choice([0, 0, 1, 1, 2])):
                if text:
                    text[random.randrange(len(text))] ^= 1 << random.randrange(8)
            model, salt = random.choice(["m", "m", "m", "n"]), random.choice(["", "", "", "salt"])
            yield bytes(text), model, salt

    def _text(self, size: int) -> bytes:
        """Random bytes, words, or one byte again and again."""
        kind = self._random.randrange(3)
        if kind == 0:
            return self._random.randbytes(size)
        if kind == 1:
            words = self._random.choices([b"the ", b"of ", b"block ", b"\0"], k=size)
            return b"".join(words)[:size]
        return self._random.choice([b"\0", b"a", b"\xff"]) * size
