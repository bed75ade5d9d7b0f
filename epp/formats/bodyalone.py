"""Completions and chat completions, told apart by the body alone, whatever the path."""

from __future__ import annotations

import msgspec

from epp.core.errors import BadRequestError
from epp.core.plugin import Parser
from epp.core.request import ChatMessage, Headers, RequestBody
from epp.core.response import UsageReader
from epp.formats.chat import (
    ANY_BODY,
    ANY_MESSAGES,
    USUAL_BODY,
    any_chat_of,
    chat_of,
)
from epp.formats.jsonbody import UNREADABLE, decode, present, rename_model, token_limit
from epp.usage import usage_reader

NO_MODEL = "model not found in request body"
INVALID_FORMAT = "invalid request format"
NO_MESSAGES = (
    "invalid chat-completions request: inference gateway: BadRequest - "
    "chat-completions request must have at least one message"
)


class BodyAloneParser(Parser):
    """What there is without a choice of parsers; it goes by the name of the one it stands in for.

    A non-empty string ``prompt`` makes it completions, else ``messages`` make it chat. A body
    without a model is left to the rewrite rules, one of which may name it.

    Differs: the body is read once and never written anew, so numbers, escapes and key order
    survive; bad UTF-8 and lone surrogates are replaced only in what the picker looks at. Bodies
    nested deeper than about 1,000 levels are refused (Go: 10,000).

    Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/requestcontrol/director.go and
    pkg/epp/util/request/body.go.
    """

    type = "openai-parser"

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        try:
            read = USUAL_BODY.decode(body)
        except UNREADABLE:
            return parse_any(body)
        if read.prompt:
            return RequestBody(
                model=read.model,
                prompt=read.prompt,
                cache_salt=read.cache_salt or "",
                stream=read.stream is True,
                max_tokens=read.max_tokens,
            )
        if not read.messages:
            raise _unusable(NO_MESSAGES, read.model)
        limit = read.max_completion_tokens
        return RequestBody(
            model=read.model,
            messages=chat_of(read.messages),
            cache_salt=read.cache_salt or "",
            stream=read.stream is True,
            tools=present(read.tools),
            max_tokens=read.max_tokens if limit is None else limit,
        )

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        return rename_model(body, target_model)

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        return usage_reader(is_streaming)


def parse_any(body: bytes) -> RequestBody:
    """Reads what the usual reading refuses, and says what is wrong; it reads messages twice.

    Raises:
        BadRequestError: the body is no request.
    """
    try:
        read = decode(ANY_BODY, body)
    except ValueError:
        raise BadRequestError("Error unmarshaling request body") from None
    if not isinstance(read.model, str | None):
        raise BadRequestError(NO_MODEL)
    salt = read.cache_salt if read.cache_salt is not None else ""
    if not isinstance(salt, str):
        raise _unusable(INVALID_FORMAT, read.model)
    is_streaming = read.stream is True
    if isinstance(read.prompt, str) and read.prompt:
        return RequestBody(
            model=read.model,
            prompt=read.prompt,
            cache_salt=salt,
            stream=is_streaming,
            max_tokens=token_limit(read.max_tokens),
        )
    return RequestBody(
        model=read.model,
        messages=_messages(read.messages, read.model),
        cache_salt=salt,
        stream=is_streaming,
        tools=present(read.tools),
        max_tokens=token_limit(read.max_completion_tokens, read.max_tokens),
    )


def _messages(raw: msgspec.Raw, model: str | None) -> tuple[ChatMessage, ...]:
    try:
        messages = ANY_MESSAGES.decode(raw)
    except UNREADABLE:
        raise _unusable(INVALID_FORMAT, model) from None
    if not messages:
        raise _unusable(NO_MESSAGES, model)
    return any_chat_of(messages)


def _unusable(reason: str, model: str | None) -> BadRequestError:
    if model is None:
        return BadRequestError(NO_MODEL)
    return BadRequestError(
        f"failed to extract request data: inference gateway: BadRequest - {reason}",
        model=model or "",
    )
