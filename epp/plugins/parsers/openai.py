"""``openai-parser``: completions and chat completions, told apart by the body alone."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec

from epp.core.errors import BadRequestError
from epp.core.jsontext import replace_member
from epp.core.plugin import NoParams, Parser, Stability, plugin
from epp.core.request import ChatMessage, ContentBlock, Headers, RequestBody

NO_MODEL = "model not found in request body"
INVALID_FORMAT = "invalid request format"
NO_MESSAGES = (
    "invalid chat-completions request: inference gateway: BadRequest - "
    "chat-completions request must have at least one message"
)


class _Body(msgspec.Struct):
    """The members that are read; everything else in the body is skipped over."""

    model: Any = None
    stream: Any = None
    prompt: Any = None
    messages: msgspec.Raw = msgspec.Raw(b"null")
    cache_salt: Any = ""


class _ImageUrl(msgspec.Struct):
    url: str = ""


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    image_url: _ImageUrl | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Block] | None = None


class _UsualBody(msgspec.Struct):
    """A body whose members are all of the right kind."""

    model: str
    stream: bool | None = None
    prompt: str | None = None
    messages: list[_Message] | None = None
    cache_salt: str | None = ""


_USUAL_BODY = msgspec.json.Decoder(_UsualBody)
_BODY = msgspec.json.Decoder(_Body)
_MESSAGES = msgspec.json.Decoder(list[_Message] | None)


@plugin("openai-parser", params=NoParams, stability=Stability.BETA)
class OpenAIParser(Parser):
    """Reads what scheduling needs and nothing else.

    A non-empty string ``prompt`` makes it completions, else ``messages`` make it chat. A body
    without a model is left to the rewrite rules, one of which may name it.

    Differs: the body is read once and never written anew, so numbers, escapes and key order
    survive; bad UTF-8 and lone surrogates are replaced only in what the picker looks at. Bodies
    nested deeper than about 1,000 levels are refused (Go: 10,000).

    Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/requestcontrol/director.go and
    pkg/epp/util/request/body.go.
    """

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        try:
            read = _USUAL_BODY.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return parse_any(body)
        if read.prompt:
            messages = None
        elif read.messages:
            messages = _chat(read.messages)
        else:
            raise _unusable(NO_MESSAGES, read.model)
        return RequestBody(
            model=read.model,
            prompt=read.prompt if messages is None else None,
            messages=messages,
            cache_salt=read.cache_salt or "",
            stream=read.stream is True,
        )

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        try:
            return replace_member(body, "model", msgspec.json.encode(target_model))
        except ValueError as error:
            raise BadRequestError(f"the model cannot be renamed: {error}") from None


def parse_any(body: bytes) -> RequestBody:
    """Reads what the usual reading refuses, and says what is wrong; it reads messages twice.

    Raises:
        BadRequestError: the body is no request.
    """
    read = _decode(body)
    if not isinstance(read.model, str | None):
        raise BadRequestError(NO_MODEL)
    salt = read.cache_salt if read.cache_salt is not None else ""
    if not isinstance(salt, str):
        raise _unusable(INVALID_FORMAT, read.model)
    is_streaming = read.stream is True
    if isinstance(read.prompt, str) and read.prompt:
        return RequestBody(
            model=read.model, prompt=read.prompt, cache_salt=salt, stream=is_streaming
        )
    return RequestBody(
        model=read.model,
        messages=_messages(read.messages, read.model),
        cache_salt=salt,
        stream=is_streaming,
    )


def _decode(body: bytes) -> _Body:
    try:
        return _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> _Body:
    """Text that Go accepts and a strict decoder does not: bad UTF-8, lone surrogates, ``null``."""
    readable = body.decode("utf-8", "replace")
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        return _BODY.decode(readable)
    try:
        value = json.loads(readable, parse_constant=_refuse_constant)
        text = json.dumps({} if value is None else value, ensure_ascii=False)
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return _BODY.decode(clean)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise BadRequestError("Error unmarshaling request body") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _messages(raw: msgspec.Raw, model: str | None) -> tuple[ChatMessage, ...]:
    try:
        messages = _MESSAGES.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unusable(INVALID_FORMAT, model) from None
    if not messages:
        raise _unusable(NO_MESSAGES, model)
    return _chat(messages)


def _chat(messages: list[_Message]) -> tuple[ChatMessage, ...]:
    return tuple([ChatMessage(m.role, _content(m.content)) for m in messages])


def _content(content: str | list[_Block] | None) -> str | tuple[ContentBlock, ...]:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return tuple(
        [ContentBlock(b.type, b.text, b.image_url.url if b.image_url else "") for b in content]
    )


def _unusable(reason: str, model: str | None) -> BadRequestError:
    if model is None:
        return BadRequestError(NO_MODEL)
    return BadRequestError(
        f"failed to extract request data: inference gateway: BadRequest - {reason}",
        model=model or "",
    )
