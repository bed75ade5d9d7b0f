"""A request as the picker sees it: what came in, and what was read out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from epp.core.data import CycleData, MediaFeature

Headers: TypeAlias = Mapping[str, bytes]
"""Lower-case names to raw values; of a repeated header the last one."""

DEFAULT_FAIRNESS_ID = "default-flow"


def header_text(headers: Headers, name: str) -> str:
    """The header's value as text, bytes that are no UTF-8 replaced; empty when absent."""
    value = headers.get(name)
    return value.decode("utf-8", "replace") if value else ""


def request_path(headers: Headers) -> bytes:
    """The request's path without its query, as the proxy tells it or as it was before the proxy.

    Source: llm-d-router v0.10, pkg/epp/framework/plugins/requesthandling/parsers.
    """
    path = (
        headers.get(":path")
        or headers.get("x-original-path")
        or headers.get("x-forwarded-path")
        or b"/v1/completions"
    )
    return path.partition(b"?")[0]


class IncomingRequest(msgspec.Struct, frozen=True):
    """One HTTP request as the proxy handed it over.

    ``body`` is None for a request that has none (GET, HEAD, ``content-length: 0``). ``subset`` is
    the proxy's list of allowed endpoints as ``ip`` or ``ip:port``; None means all, an empty one
    none.
    """

    headers: Headers
    body: bytes | None
    subset: tuple[str, ...] | None


class ContentBlock(msgspec.Struct, frozen=True):
    """One block of a structured chat message; ``image_url`` is empty where there is none.

    An image that is part of the message has a ``data:`` URL. ``media`` is the content of other
    media: a URL, or base64 data followed by its format.
    """

    type: str
    text: str = ""
    image_url: str = ""
    media: str = ""


class ChatMessage(msgspec.Struct, frozen=True):
    """One chat message: its role and its text, or its blocks."""

    role: str
    content: str | tuple[ContentBlock, ...] = ""


class RequestBody(msgspec.Struct, frozen=True):
    """What a parser read.

    ``model`` is the name that the client sent, None where it sent none. What is to be read by the
    model is in one of these: ``prompt``; ``prompts``, where there are several, or they are tokens
    (bytes, four for each, little-endian); ``messages``; ``text``, the canonical JSON of every other
    kind of request. ``tools`` is the JSON of the tools that come before messages. ``max_tokens``
    is how long the client lets the answer be, None where it does not say. ``features`` are the
    media in a prompt of tokens.

    ``takes_model`` is False where the body has no place for a model's name: then none is needed,
    and none is put in. ``follows_answer`` is False where there is nothing to learn from the answer.
    """

    model: str | None
    prompt: str | None = None
    messages: Sequence[ChatMessage] | None = None
    cache_salt: str = ""
    stream: bool = False
    prompts: Sequence[str | bytes] = ()
    text: bytes = b""
    tools: bytes = b""
    max_tokens: int | None = None
    features: Sequence[MediaFeature] = ()
    takes_model: bool = True
    follows_answer: bool = True


class InferenceRequest(msgspec.Struct, frozen=True, eq=False):
    """A parsed request on its way through the director.

    ``incoming_model`` is the name the client sent, ``target_model`` the name after rewriting.
    ``body`` is None for a request without a body. ``data`` is what plugins keep about it.
    """

    request_id: str
    headers: Headers
    body: RequestBody | None
    incoming_model: str = ""
    target_model: str = ""
    priority: int = 0
    fairness_id: str = DEFAULT_FAIRNESS_ID
    size_bytes: int = 0
    data: CycleData = msgspec.field(default_factory=CycleData)

    @property
    def is_sheddable(self) -> bool:
        """Whether the request may be refused in favour of others."""
        return self.priority < 0


class RequestKey(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """What a request is counted by: whose it is, as far as that is known yet.

    ``model`` is the name that the client sent, ``target`` the name after rewriting.
    """

    model: str = ""
    target: str = ""
    fairness_id: str = DEFAULT_FAIRNESS_ID
    priority: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Token counts that a model server reported; None where it said nothing countable."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
