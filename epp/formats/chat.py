"""Chat messages of the OpenAI API, and the quick reading of a body that has some or a prompt."""

from __future__ import annotations

from typing import Any

import msgspec

from epp.core.request import ChatMessage, ContentBlock
from epp.formats.jsonbody import ABSENT, UNREADABLE, Count


class _Url(msgspec.Struct):
    url: str = ""


class _Audio(msgspec.Struct):
    data: str = ""
    format: str = ""


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    image_url: _Url | None = None
    video_url: _Url | None = None
    input_audio: _Audio | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Block] | None = None


class _AnyBlock(msgspec.Struct):
    """A block whose media other than images may have any form."""

    type: str = ""
    text: str = ""
    image_url: _Url | None = None
    video_url: msgspec.Raw = ABSENT
    input_audio: msgspec.Raw = ABSENT


class _AnyMessage(msgspec.Struct):
    role: str = ""
    content: str | list[_AnyBlock] | None = None


class UsualBody(msgspec.Struct):
    """A body of completions or a chat, whose members are all of the right kind."""

    model: str
    stream: bool | None = None
    prompt: str | None = None
    messages: list[_Message] | None = None
    cache_salt: str | None = ""
    max_tokens: Count = None
    max_completion_tokens: Count = None
    tools: msgspec.Raw = ABSENT


class AnyBody(msgspec.Struct):
    """The same where they are not; what is wrong with which member is for the reader to say."""

    model: Any = None
    stream: Any = None
    prompt: Any = None
    messages: msgspec.Raw = ABSENT
    cache_salt: Any = ""
    max_tokens: msgspec.Raw = ABSENT
    max_completion_tokens: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT


USUAL_BODY = msgspec.json.Decoder(UsualBody)
ANY_BODY = msgspec.json.Decoder(AnyBody)
ANY_MESSAGES = msgspec.json.Decoder(list[_AnyMessage] | None)
_ANY_URL = msgspec.json.Decoder(_Url | None)
_ANY_AUDIO = msgspec.json.Decoder(_Audio | None)


def chat_of(messages: list[_Message]) -> tuple[ChatMessage, ...]:
    """What the picker knows of well-formed messages."""
    return tuple([ChatMessage(m.role, _content(m.content)) for m in messages])


def _content(content: str | list[_Block] | None) -> str | tuple[ContentBlock, ...]:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return tuple(
        [
            ContentBlock(
                b.type,
                b.text,
                b.image_url.url if b.image_url else "",
                _media(b.video_url, b.input_audio) if b.video_url or b.input_audio else "",
            )
            for b in content
        ]
    )


def any_chat_of(messages: list[_AnyMessage]) -> tuple[ChatMessage, ...]:
    """The same of messages that may hold media of any form; what cannot be read has no content."""
    return tuple([ChatMessage(m.role, _any_content(m.content)) for m in messages])


def _any_content(content: str | list[_AnyBlock] | None) -> str | tuple[ContentBlock, ...]:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return tuple(
        [
            ContentBlock(b.type, b.text, b.image_url.url if b.image_url else "", _any_media(b))
            for b in content
        ]
    )


def _any_media(block: _AnyBlock) -> str:
    try:
        return _media(_ANY_URL.decode(block.video_url), _ANY_AUDIO.decode(block.input_audio))
    except UNREADABLE:
        return ""


def _media(video: _Url | None, audio: _Audio | None) -> str:
    if video is not None:
        return video.url
    return audio.data + audio.format if audio is not None else ""
