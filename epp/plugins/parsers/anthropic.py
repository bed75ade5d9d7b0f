"""``anthropic-parser``: the Messages API of Anthropic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from epp.core.errors import BadRequestError
from epp.core.plugin import NoParams, Parser, Stability, plugin
from epp.core.request import ChatMessage, ContentBlock, Headers, RequestBody, Usage, request_path
from epp.core.response import UsageReader
from epp.formats.jsonbody import (
    ABSENT,
    UNREADABLE,
    decode,
    present,
    rename_model,
    token_limit,
)
from epp.usage import UsageShape, count, merged, usage_reader, with_total


class _Source(msgspec.Struct):
    type: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class _Block(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    source: msgspec.Raw = ABSENT
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = ABSENT
    content: msgspec.Raw = ABSENT
    thinking: str | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    content: str | list[_Block] | None = None


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    system: str | list[_Block] | None = None
    messages: list[_Message] | None = None
    tools: msgspec.Raw = ABSENT
    cache_salt: str | None = None
    max_tokens: msgspec.Raw = ABSENT


class _AnyBody(msgspec.Struct):
    model: Any = None


_BODY = msgspec.json.Decoder(_Body)
_ANY_BODY = msgspec.json.Decoder(_AnyBody)
_SOURCE = msgspec.json.Decoder(_Source | None)
_RESULT = msgspec.json.Decoder(str | list[_Block] | None)


class _Counts(msgspec.Struct):
    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None


class _StartedMessage(msgspec.Struct):
    usage: _Counts | None = None


class _Answer(msgspec.Struct):
    """An answer, or one of its events."""

    usage: _Counts | None = None
    message: _StartedMessage | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


@plugin("anthropic-parser", params=NoParams, stability=Stability.BETA)
class AnthropicParser(Parser):
    """Messages, after the system's text; requests to count tokens are not read.

    The system's text is a message without a role. What tools were asked and what they answered is
    text, images that they answered follow it.

    Differs: sources and results of tools that are not as documented have no content, where upstream
    refuses the request.

    Source: llm-d-router v0.10, requesthandling/parsers/anthropic.
    """

    paths = ("messages", "messages/count_tokens")

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        path = request_path(headers)
        if path.endswith(b"/messages/count_tokens"):
            return RequestBody(model=None, takes_model=False, follows_answer=False)
        if not path.endswith(b"/messages"):
            shown = path.decode("utf-8", "replace")
            raise BadRequestError(f"unsupported API endpoint: {shown}")
        read = _read(body)
        model = read.model if isinstance(read.model, str) else None
        if not read.messages:
            raise BadRequestError(
                "invalid messages request: must have at least one message", model=model or ""
            )
        messages = [ChatMessage(m.role or "", _content(m.content)) for m in read.messages]
        if read.system:
            messages.insert(0, ChatMessage("", _content(read.system)))
        return RequestBody(
            model=model,
            messages=tuple(messages),
            tools=present(read.tools),
            cache_salt=read.cache_salt or "",
            stream=read.stream is True,
            max_tokens=token_limit(read.max_tokens),
        )

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        return rename_model(body, target_model)

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        return usage_reader(is_streaming, _USAGE)


def _read(body: bytes) -> _Body:
    try:
        return decode(_BODY, body)
    except ValueError as error:
        reason = error
    try:
        model = decode(_ANY_BODY, body).model
    except ValueError as error:
        raise BadRequestError(f"error unmarshaling request body: {error}") from None
    raise BadRequestError(
        f"error parsing messages request: {reason}", model=model if isinstance(model, str) else ""
    )


def _content(content: str | list[_Block] | None) -> str | tuple[ContentBlock, ...]:
    if not isinstance(content, list):
        return content or ""
    return tuple([block for given in content for block in _blocks(given)])


def _blocks(block: _Block) -> Iterator[ContentBlock]:
    """A block, and after the result of a tool the media that it holds."""
    kind = block.type or ""
    if kind == "tool_use":
        raw = bytes(block.input).decode("utf-8", "replace")
        text = f"{block.id or ''}{block.name or ''}{'' if raw == 'null' else raw}"
        yield ContentBlock(kind, text)
        return
    content = _result(block.content)
    texts = [block.text or block.thinking or "", *[inner.text or "" for inner in content]]
    url, media = _source(block)
    yield ContentBlock(kind, "".join(texts), url, media)
    for inner in content:
        url, media = _source(inner)
        if url or media:
            yield ContentBlock(inner.type or "", "", url, media)


def _result(member: msgspec.Raw) -> list[_Block]:
    """What a tool answered."""
    try:
        content = _RESULT.decode(member)
    except UNREADABLE:
        return []
    return [_Block("text", content)] if isinstance(content, str) else content or []


def _source(block: _Block) -> tuple[str, str]:
    """The URL of an image, and the content of any other medium."""
    try:
        source = _SOURCE.decode(block.source)
    except UNREADABLE:
        source = None
    if source is None:
        return "", ""
    if block.type != "image":
        return "", source.url or source.data or ""
    if source.data:
        return f"data:{source.media_type or ''};base64,{source.data}", ""
    return source.url or "", ""


def _usage(text: bytes | bytearray) -> Usage | None:
    try:
        answer = _ANSWER.decode(text)
    except UNREADABLE:
        return None
    counts = answer.usage or (answer.message.usage if answer.message else None)
    if counts is None:
        return None
    return with_total(
        Usage(
            count(counts.input_tokens),
            count(counts.output_tokens),
            None,
            count(counts.cache_read_input_tokens),
        )
    )


# The first event tells what was read, the last one what was written.
_USAGE = UsageShape(re.compile(rb'"usage"\s*:\s*\{'), _usage, merged)
