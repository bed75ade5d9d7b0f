"""The bytes of a request that prefix matching looks at."""

from __future__ import annotations

import re
from collections.abc import Sequence

from epp.core.request import ChatMessage, ContentBlock, RequestBody

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_ESCAPED = re.compile('["\\\\<>&\\x00-\\x1f\u2028\u2029\ud800-\udfff]')


def prefix_bytes(body: RequestBody, limit: int) -> bytes:
    """The first ``limit`` bytes, at least, of what counts as the prompt; shorter prompts whole.

    Completions: the prompt in UTF-8. Chat: the messages in the compact JSON that Go writes, since
    the hashes of the reference are made from that.

    Source: gateway-api-inference-extension 2aaf2a6, multi/prefix/plugin.go; Go 1.24 encoding/json.
    """
    if body.prompt is not None:
        return body.prompt[:limit].encode("utf-8", "replace")
    return _chat_json(body.messages or (), limit).encode()


def _chat_json(messages: Sequence[ChatMessage], limit: int) -> str:
    parts: list[str] = []
    length = 0
    for message in messages:
        if length >= limit:
            break
        role = f'"role":{_quote(message.role, limit)},' if message.role else ""
        part = f'{{{role}"content":{_content(message.content, limit)}}}'
        parts.append(part)
        length += len(part)
    return f"[{','.join(parts)}]"


def _content(content: str | tuple[ContentBlock, ...], limit: int) -> str:
    if isinstance(content, str):
        return _quote(content, limit)
    return f"[{','.join([_block(block, limit) for block in content])}]" if content else '""'


def _block(block: ContentBlock, limit: int) -> str:
    text = f'"text":{_quote(block.text, limit)},' if block.text else ""
    url = f'"url":{_quote(block.image_url, limit)}' if block.image_url else ""
    return f'{{"type":{_quote(block.type, limit)},{text}"image_url":{{{url}}}}}'


def _quote(text: str, limit: int) -> str:
    """``text`` as Go's JSON; what lies behind ``limit`` characters can no longer be seen."""
    return f'"{_ESCAPED.sub(_escape, text[:limit])}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    return f"\\u{ord(character):04x}"
