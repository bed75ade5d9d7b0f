"""Changing one member of a JSON object without touching any other byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice

# Strings are taken as wholes, so that brackets and commas in them do not count. All repetitions are
# possessive: even hostile text is read once.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb"|[{}\[\]:,]", re.DOTALL)
_NEXT_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+([{}\[\]])", re.DOTALL)
_ESCAPED_ASCII = re.compile(rb"\\u00[0-7]")
_SPACE = b" \t\r\n"

MAX_TOKENS = 200_000
"""How many brackets, keys and commas are looked at: a tenth of a second's worth."""


def replace_member(text: bytes, name: str, value: bytes) -> bytes:
    """``text``, a JSON object, with ``value`` in place of what its member ``name`` holds.

    Where the name occurs more than once every occurrence is changed; where it is absent the member
    is added in front. ``text`` must be well-formed.

    Raises:
        ValueError: the name stands behind, or may stand among, more than ``MAX_TOKENS`` tokens.
    """
    found = _member_spans(text, name)
    # Behind the only place where the name can be there is nothing more to find.
    spans = list(islice(found, 1) if _occurs_once(text, name) else found)
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


def _occurs_once(text: bytes, name: str) -> bool:
    """Whether the name stands once in quotes, and no letter can be hidden in an escape."""
    return text.count(b'"' + name.encode() + b'"') == 1 and not _ESCAPED_ASCII.search(text)


def _member_spans(text: bytes, name: str) -> Iterator[tuple[int, int]]:
    """Where the values of the top-level members called ``name`` start and end."""
    key = b""
    start: int | None = None
    depth = 1
    at = text.index(b"{") + 1
    for _ in range(MAX_TOKENS):
        token = (_TOKEN if depth == 1 else _NEXT_BRACKET).search(text, at)
        if token is None:
            return
        at, kind = token.end(), token[0][-1:]
        if kind in b"{[":
            depth += 1
        elif kind in b"}]" and depth > 1:
            depth -= 1
        elif kind == b":":
            start = at if _spells(key, name) else None
        elif kind in b",}":
            if start is not None:
                yield _trimmed(text, start, token.start())
            start = None
        elif start is None:
            key = token[0]
    raise ValueError(f"it is among more than {MAX_TOKENS} brackets, keys and commas")


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
