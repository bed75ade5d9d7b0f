"""Request bodies with prompts that compress, hash and parse like prose."""

from __future__ import annotations

import enum
import random

import msgspec

from benchmarks.backend import MODEL

_WORDS = (
    "the of and a to in is you that it he was for on are as with his they at be this have from or "
    "one had by word but not what all were we when your can said there use an each which she do "
    "how their if will up other about out many then them these so some her would make like him "
    "into time has look two more write go see number no way could people my than first water been "
    "call who oil its now find long down day did get come made may part"
)
_LIBRARY_CHARACTERS = 2_000_000


class PromptKind(enum.StrEnum):
    """Whether requests share their prompt."""

    NEW = "new"
    REPEATED = "repeated"


class Prompts:
    """Makes bodies of ``POST /v1/completions``."""

    def __init__(self, *, characters: int, kind: PromptKind, stream: bool, seed: int) -> None:
        self._characters = characters
        self._kind = kind
        self._stream = stream
        self._random = random.Random(seed)
        self._library = self._prose(_LIBRARY_CHARACTERS if characters > 10_000 else 100_000)
        self._repeated = self._encode(self._cut())

    def body(self) -> bytes:
        """The next body."""
        return self._repeated if self._kind is PromptKind.REPEATED else self._encode(self._cut())

    def _prose(self, characters: int) -> str:
        words = self._random.choices(_WORDS.split(), k=characters // 4)
        for index in range(15, len(words), 15):
            words[index] += ".\n"
        return " ".join(words)

    def _cut(self) -> str:
        # Any two cuts differ from their first characters on, and so in every prefix.
        start = self._random.randrange(len(self._library) - self._characters)
        head = f"{self._random.getrandbits(64):016x} "
        return head + self._library[start : start + self._characters - len(head)]

    def _encode(self, prompt: str) -> bytes:
        body: dict[str, object] = {"model": MODEL, "prompt": prompt, "max_tokens": 100}
        if self._stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return msgspec.json.encode(body)
