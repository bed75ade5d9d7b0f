"""``openai-parser``: the OpenAI APIs, told apart by the path."""

from __future__ import annotations

from functools import lru_cache

from epp.core.plugin import NoParams, Parser, Stability, plugin
from epp.core.request import Headers, RequestBody, request_path
from epp.core.response import UsageReader
from epp.formats.jsonbody import rename_model
from epp.formats.openai import (
    ReadBody,
    read_chat,
    read_completions,
    read_conversations,
    read_embeddings,
    read_images,
    read_responses,
)
from epp.usage import usage_reader

# In the order in which they are tried; a path that ends in none of them is one of completions.
_READERS: tuple[tuple[bytes | tuple[bytes, ...], ReadBody], ...] = (
    ((b"/chat/completions", b"/chat/completions/render"), read_chat),
    ((b"/completions", b"/completions/render"), read_completions),
    (b"/responses", read_responses),
    (b"/conversations", read_conversations),
    (b"/embeddings", read_embeddings),
    (b"/images/generations", read_images),
)


@plugin("openai-parser", params=NoParams, stability=Stability.BETA)
class OpenAIParser(Parser):
    """Reads what scheduling needs and nothing else.

    A body without a model is left to the rewrite rules, one of which may name it.

    Differs: as in ``BodyAloneParser`` the body is never written anew. What a member of the message
    is that holds sounds or videos does not matter; upstream refuses what is not as documented.

    Source: llm-d-router v0.10, requesthandling/parsers/openai.
    """

    paths = (
        "chat/completions",
        "completions",
        "embeddings",
        "responses",
        "conversations",
        "chat/completions/render",
        "completions/render",
        "images/generations",
    )

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        return _reader(request_path(headers))(body)

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        return rename_model(body, target_model)

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        return usage_reader(is_streaming)


@lru_cache(maxsize=256)
def _reader(path: bytes) -> ReadBody:
    """How requests with this path are read; nearly all come with one of a few."""
    path = path.removesuffix(b"/")
    for ends, read in _READERS:
        if path.endswith(ends):
            return read
    return read_completions
