"""The request bodies of the OpenAI APIs, one function for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from epp.core.errors import BadRequestError
from epp.core.request import RequestBody
from epp.formats.chat import ANY_BODY, ANY_MESSAGES, USUAL_BODY, AnyBody, any_chat_of, chat_of
from epp.formats.jsonbody import (
    ABSENT,
    UNREADABLE,
    compact,
    decode,
    present,
    read_texts,
    token_limit,
)

ReadBody: TypeAlias = Callable[[bytes], RequestBody]


class _OtherBody(msgspec.Struct):
    """The members of the requests that are neither completions nor chat."""

    model: Any = None
    stream: Any = None
    cache_salt: Any = ""
    prompt: Any = None
    input: msgspec.Raw = ABSENT
    instructions: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    items: msgspec.Raw = ABSENT
    max_output_tokens: msgspec.Raw = ABSENT


_OTHER_BODY = msgspec.json.Decoder(_OtherBody)
_ITEMS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_ANYTHING = msgspec.json.Decoder()


def read_completions(body: bytes) -> RequestBody:
    """``/v1/completions``: a prompt as text, texts or token ids.

    Raises:
        BadRequestError: there is none, or the body is no JSON object.
    """
    try:
        read = USUAL_BODY.decode(body)
    except UNREADABLE:
        read = None
    if read is not None and read.prompt:
        return RequestBody(
            model=read.model,
            prompt=read.prompt,
            cache_salt=read.cache_salt or "",
            stream=read.stream is True,
            max_tokens=read.max_tokens,
        )
    return read_any_completions(body)


def read_any_completions(body: bytes) -> RequestBody:
    """What ``read_completions`` reads where it is not text, or some member is not as usual."""
    message = "invalid completions request: must have prompt field"
    anything = _decode(ANY_BODY, body)
    model = _model(anything)
    try:
        texts = read_texts(anything.prompt)
    except ValueError:
        raise BadRequestError(message, model=model or "") from None
    return RequestBody(
        model=model,
        prompt=texts.prompt,
        prompts=texts.prompts,
        cache_salt=_salt(anything, message),
        stream=anything.stream is True,
        max_tokens=token_limit(anything.max_tokens),
    )


def read_chat(body: bytes) -> RequestBody:
    """``/v1/chat/completions``: messages.

    Raises:
        BadRequestError: there are none, or the body is no JSON object.
    """
    try:
        read = USUAL_BODY.decode(body)
    except UNREADABLE:
        read = None
    if read is None or not read.messages:
        return read_any_chat(body)
    limit = read.max_completion_tokens
    return RequestBody(
        model=read.model,
        messages=chat_of(read.messages),
        cache_salt=read.cache_salt or "",
        stream=read.stream is True,
        tools=present(read.tools),
        max_tokens=read.max_tokens if limit is None else limit,
    )


def read_any_chat(body: bytes) -> RequestBody:
    """What ``read_chat`` reads where some member is not as usual; it reads the messages twice."""
    message = "invalid chat completions request: must have valid messages field"
    anything = _decode(ANY_BODY, body)
    model = _model(anything)
    try:
        messages = decode(ANY_MESSAGES, anything.messages)
    except ValueError:
        messages = None
    if not messages:
        raise BadRequestError(message, model=model or "")
    return RequestBody(
        model=model,
        messages=any_chat_of(messages),
        cache_salt=_salt(anything, message),
        stream=anything.stream is True,
        tools=present(anything.tools),
        max_tokens=token_limit(anything.max_completion_tokens, anything.max_tokens),
    )


def read_responses(body: bytes) -> RequestBody:
    """``/v1/responses``: instructions, tools and an input of any kind, as they were sent.

    Raises:
        BadRequestError: there is no input, or the body is no JSON object.
    """
    message = "invalid responses request: must have input field"
    read = _decode(_OTHER_BODY, body)
    if bytes(read.input) == b"null":
        raise BadRequestError(message, model=_model(read) or "")
    members = [
        b'{"%b":%b}' % (name, compact(member))
        for name, member in ((b"instructions", read.instructions), (b"tools", read.tools))
        if bytes(member) != b"null"
    ]
    members.append(b'{"input":%b}' % compact(read.input))
    return RequestBody(
        model=_model(read),
        text=b"[%b]" % b",".join(members),
        cache_salt=_salt(read, message),
        stream=read.stream is True,
        max_tokens=token_limit(read.max_output_tokens),
    )


def read_conversations(body: bytes) -> RequestBody:
    """``/v1/conversations``: a list of items, as they were sent.

    Raises:
        BadRequestError: there is no item, or the body is no JSON object.
    """
    message = "invalid conversations request: must have items field"
    read = _decode(_OTHER_BODY, body)
    model = _model(read)
    try:
        items = _ITEMS.decode(read.items)
    except UNREADABLE:
        items = None
    if not items:
        raise BadRequestError(message, model=model or "")
    return RequestBody(
        model=model,
        text=compact(read.items),
        cache_salt=_salt(read, message),
        stream=read.stream is True,
    )


def read_embeddings(body: bytes) -> RequestBody:
    """``/v1/embeddings``: an input as text, texts or token ids.

    Raises:
        BadRequestError: there is none, or the body is no JSON object.
    """
    message = "invalid embeddings request: must have input field"
    read = _decode(_OTHER_BODY, body)
    model = _model(read)
    prompt: str | None = None
    prompts: tuple[str | bytes, ...] = ()
    text = b""
    try:
        value = decode(_ANYTHING, read.input)
        prompt, prompts = read_texts(value)
        if isinstance(value, list) and isinstance(value[0], str):
            prompt, prompts, text = None, (), compact(read.input)
    except ValueError:
        raise BadRequestError(message, model=model or "") from None
    return RequestBody(
        model=model,
        prompt=prompt,
        prompts=prompts,
        text=text,
        cache_salt=_salt(read, message),
        stream=read.stream is True,
    )


def read_images(body: bytes) -> RequestBody:
    """``/v1/images/generations``: a prompt.

    Raises:
        BadRequestError: there is none, or the body is no JSON object.
    """
    read = _decode(_OTHER_BODY, body)
    model = _model(read)
    if not isinstance(read.prompt, str) or not read.prompt:
        raise BadRequestError(
            "invalid images generations request: must have prompt field", model=model or ""
        )
    return RequestBody(model=model, prompt=read.prompt, stream=read.stream is True)


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decode(decoder, body)
    except ValueError as error:
        raise BadRequestError(f"error unmarshaling request bodyMap: {error}") from None


def _model(read: AnyBody | _OtherBody) -> str | None:
    """The model's name; one that is no text counts as none, and may be put in."""
    return read.model if isinstance(read.model, str) else None


def _salt(read: AnyBody | _OtherBody, message: str) -> str:
    salt = read.cache_salt
    if salt is None:
        return ""
    if not isinstance(salt, str):
        raise BadRequestError(message, model=_model(read) or "")
    return salt
