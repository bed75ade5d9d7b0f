"""Changing one member of a JSON object without touching any other byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

# Strings as wholes, so that brackets and commas in them do not count; possessive, so that even
# hostile text is read once.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]', re.DOTALL)
_SPACE = b" \t\r\n"


def replace_member(text: bytes, name: str, value: bytes) -> bytes:
    """``text``, a JSON object, with ``value`` in place of what its member ``name`` holds.

    Where the name occurs more than once every occurrence is changed; where it is absent the member
    is added in front. ``text`` must be well-formed.
    """
    spans = list(_member_spans(text, name))
    if not spans:
        opening = text.index(b"{") + 1
        rest = text[opening:]
        comma = b"" if rest.lstrip(_SPACE).startswith(b"}") else b","
        return b"".join((text[:opening], b'"', name.encode(), b'":', value, comma, rest))
    pieces: list[bytes] = []
    done = 0
    for start, end in spans:
        pieces += (text[done:start], value)
        done = end
    pieces.append(text[done:])
    return b"".join(pieces)


def _member_spans(text: bytes, name: str) -> Iterator[tuple[int, int]]:
    """Where the values of the top-level members called ``name`` start and end."""
    depth = 0
    key = b""
    start: int | None = None
    for token in _TOKEN.finditer(text):
        kind = token[0]
        if kind in (b"{", b"["):
            depth += 1
        elif depth == 1 and kind == b":":
            start = token.end() if _spells(key, name) else None
        elif depth == 1 and kind in (b",", b"}"):
            if start is not None:
                yield _trimmed(text, start, token.start())
            start = None
        elif depth == 1 and start is None and kind[0] == ord('"'):
            key = kind
        if kind in (b"}", b"]"):
            depth -= 1


def _trimmed(text: bytes, start: int, end: int) -> tuple[int, int]:
    while text[start] in _SPACE:
        start += 1
    while text[end - 1] in _SPACE:
        end -= 1
    return start, end


def _spells(key: bytes, name: str) -> bool:
    """Whether a JSON string, quotes and escapes included, is the name."""
    if b"\\" not in key:
        return key[1:-1] == name.encode()
    return bool(json.loads(key.decode("utf-8", "replace")) == name)
