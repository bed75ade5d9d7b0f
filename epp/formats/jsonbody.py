"""JSON bodies as Go reads them, which is more forgiving than a strict decoder."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from epp.core.errors import BadRequestError
from epp.core.jsontext import replace_member

T = TypeVar("T")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder of msgspec raises for bytes that it cannot read."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] | None
"""A member that holds a number of tokens, where it is an ordinary one."""

ABSENT = msgspec.Raw(b"null")

MAX_TOKEN_ID = (1 << 32) - 1

_TOKEN_IDS = msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKEN_ID)]])
_MAX_SHOWN = 64


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """What is in ``body``; bad UTF-8 and lone surrogates are replaced, ``null`` is an object.

    Members of the kind ``msgspec.Raw`` are skipped over unread, so they may still hold such text.

    Raises:
        ValueError: it is no JSON, or not of the decoder's shape, or nested over 1,000 levels deep.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        # Of another shape, however forgivingly it is read.
        if bytes(body).strip() != b"null":
            raise ValueError(str(error)) from None
        reason = str(error)
    except UNREADABLE as error:
        reason = str(error)
    readable = bytes(body).decode("utf-8", "replace")
    with contextlib.suppress(*UNREADABLE):
        return decoder.decode(readable)
    try:
        value = json.loads(readable, parse_constant=_refuse_constant)
        text = json.dumps({} if value is None else value, ensure_ascii=False)
        return decoder.decode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, *UNREADABLE):
        raise ValueError(reason) from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def token_limit(*members: msgspec.Raw) -> int | None:
    """The first of these that is a whole number of 0 or more; None where there is none."""
    for member in members:
        with contextlib.suppress(*UNREADABLE):
            value = msgspec.json.decode(member)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if type(value) is int and 0 <= value < 1 << 53:
                return value
    return None


def present(member: msgspec.Raw) -> bytes:
    """The member's bytes; none where it is absent, null or an empty list."""
    if member is ABSENT:
        return b""
    raw = bytes(member)
    return b"" if raw == b"null" or not raw.strip(b"[] \t\r\n") else raw


def compact(member: msgspec.Raw) -> bytes:
    """The member's bytes without the white space between them."""
    try:
        return msgspec.json.format(bytes(member), indent=-1)
    except UNREADABLE:
        return bytes(member)


class Texts(NamedTuple):
    """A prompt in one of the forms that the API of completions allows: one of these is set."""

    prompt: str | None = None
    prompts: tuple[str | bytes, ...] = ()


def read_texts(value: Any) -> Texts:
    """A prompt out of a string, a list of strings, or a list of token ids.

    Raises:
        ValueError: it is empty, or none of them.
    """
    if not value:
        raise ValueError("it is empty")
    if isinstance(value, str):
        return Texts(value)
    if not isinstance(value, list):
        raise ValueError("it is neither text nor a list")
    if isinstance(value[0], str):
        if not all(isinstance(text, str) for text in value):
            raise ValueError("not all of it is text")
        return Texts(value[0]) if len(value) == 1 else Texts(prompts=tuple(value))
    return Texts(prompts=(pack_token_ids(value),))


class TokenIdError(ValueError):
    """A list of token ids holds something else: ``index`` is where, ``shown`` what."""

    def __init__(self, index: int, value: object) -> None:
        self.index = index
        self.shown = _shown(value)
        super().__init__(f"[{index}]: invalid value {self.shown}")


def pack_token_ids(values: list[Any]) -> bytes:
    """Token ids as four bytes each, little-endian.

    Raises:
        TokenIdError: one of them is no whole number from 0 to 4294967295.
    """
    for i, value in enumerate(values):
        if type(value) is int and 0 <= value <= MAX_TOKEN_ID:
            continue
        if isinstance(value, float) and value.is_integer() and 0 <= value <= MAX_TOKEN_ID:
            values[i] = int(value)
        else:
            raise TokenIdError(i, value)
    return struct.pack(f"<{len(values)}I", *values)


def read_token_ids(member: msgspec.Raw) -> bytes | None:
    """Token ids as four bytes each, little-endian; None where the member is no list.

    Raises:
        TokenIdError: one of them is no whole number from 0 to 4294967295.
    """
    try:
        ids = _TOKEN_IDS.decode(member)
    except UNREADABLE:
        try:
            values = msgspec.json.decode(member)
        except UNREADABLE:
            return None
        return pack_token_ids(values) if isinstance(values, list) else None
    return struct.pack(f"<{len(ids)}I", *ids)


def _shown(value: object) -> str:
    """A value for an error's text, whatever it is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def rename_model(body: bytes, target_model: str) -> bytes:
    """``body``, a JSON object, with another model name and every other byte as it is.

    Raises:
        BadRequestError: the name is behind too many brackets, keys and commas.
    """
    try:
        return replace_member(body, "model", msgspec.json.encode(target_model))
    except ValueError as error:
        raise BadRequestError(f"the model cannot be renamed: {error}") from None
