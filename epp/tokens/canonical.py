"""A request as pseudo tokens: four bytes of its text are one.

Images, videos and sounds get as many as they are estimated to have.

Source: llm-d-router v0.10, requestcontrol/dataproducer/tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from xxhash import xxh64_intdigest

from epp.core.data import MediaFeature, PromptTokens
from epp.core.request import ChatMessage, ContentBlock, RequestBody

BYTES_PER_TOKEN = 4
MAX_MEDIA_TOKENS = 1 << 20
"""So many tokens may all media of a request have together, 4 MB: their sizes are the client's word.

Differs: upstream believes whatever an image's header says.
"""

MAX_SIZED_MEDIA = 1000
"""The size of so many media of a request is looked at, the others have one token each."""

CountTokens: TypeAlias = Callable[[str, str], int]
"""The tokens of a medium by its kind (image, video, audio) and its content."""

_KINDS = ("image", "video", "audio")


def read_prompts(body: RequestBody, count_tokens: CountTokens) -> tuple[PromptTokens, ...]:
    """The prompts of a request, none where there is nothing to be read.

    Text is UTF-8, tokens stay what they are. A chat is the JSON of its tools, and of each message
    the role and what its blocks say; media come in their places. Those that the client says are in
    a prompt of tokens belong to the first one, as far as they lie in it.
    """
    if body.prompts:
        prompts = [PromptTokens(_whole(_bytes(prompt))) for prompt in body.prompts]
        if body.features:
            prompts[0] = _with_features(prompts[0], body.features)
        return tuple(prompts)
    if body.prompt is not None:
        return (PromptTokens(_whole(_bytes(body.prompt))),)
    if body.messages:
        return (_Chat(body.tools, count_tokens).read(body.messages),)
    return (PromptTokens(_whole(body.text)),) if body.text else ()


def _with_features(prompt: PromptTokens, features: Sequence[MediaFeature]) -> PromptTokens:
    """The prompt with its media in their order; their places are the client's word."""
    size = len(prompt)
    inside = [f for f in features if f.offset >= 0 and f.length > 0 and f.offset + f.length <= size]
    return PromptTokens(prompt.tokens, tuple(sorted(inside, key=lambda f: f.offset)))


class _Chat:
    """Writes one chat, piece by piece."""

    def __init__(self, tools: bytes, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._pieces = [tools]
        self._size = len(tools)
        self._features: list[MediaFeature] = []
        self._media_left = MAX_MEDIA_TOKENS

    def read(self, messages: Sequence[ChatMessage]) -> PromptTokens:
        for message in messages:
            self._write(_bytes(message.role))
            if isinstance(message.content, str):
                self._write(_bytes(message.content))
                continue
            for block in message.content:
                if block.text:
                    self._write(_bytes(block.text))
                self._write_media(block)
        return PromptTokens(_whole(b"".join(self._pieces)), tuple(self._features))

    def _write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    def _write_media(self, block: ContentBlock) -> None:
        content = block.image_url or block.media
        kind = "image" if block.image_url else next((k for k in _KINDS if k in block.type), "")
        if not content or not kind:
            return
        self._write(bytes(-self._size % BYTES_PER_TOKEN))
        value = xxh64_intdigest(_bytes(content))
        length = 1
        if self._media_left > 0 and len(self._features) < MAX_SIZED_MEDIA:
            length = max(1, min(self._count_tokens(kind, content), self._media_left))
        self._media_left -= length
        offset = self._size // BYTES_PER_TOKEN
        self._features.append(MediaFeature(kind, f"{value:x}", offset, length))
        self._write((value & 0xFFFFFFFF).to_bytes(BYTES_PER_TOKEN, "little") * length)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def _whole(text: bytes) -> bytes:
    """``text`` with zeros up to the end of its last token."""
    missing = -len(text) % BYTES_PER_TOKEN
    return text + bytes(missing) if missing else text
