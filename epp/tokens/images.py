"""How large an image is, from the first bytes of its file."""

from __future__ import annotations

import binascii
import re

# JPEG: any number of fill bytes, then the marker.
_MARKER = re.compile(rb"\xff++([^\xff\x00])")
# Start of frame: all of C0 to CF but DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset(range(0xD0, 0xDA)) | {0x01}
"""Markers without a segment."""

MOST_SEGMENTS = 500
"""Of a JPEG; files have about ten before the frame, with a large profile some dozens."""

HEAD_CHARACTERS = 4096
"""Enough for what most files begin with."""

MOST_CHARACTERS = 1 << 20
"""Of a JPEG so much is looked at: before its size there may be a preview and profiles."""


def image_size(content: str) -> tuple[int, int] | None:
    """Width and height in pixels of an image in base64, with or without ``data:`` before it.

    None for a URL, and for what is no PNG, JPEG or GIF.
    """
    start = 0
    if content.startswith("data:"):
        start = content.find("base64,", 0, HEAD_CHARACTERS) + len("base64,")
        if start < len("base64,"):
            return None
    elif "://" in content[:16]:
        return None
    size = _size(_decode(content[start : start + HEAD_CHARACTERS]))
    if size is None and content.startswith("/9j/", start):  # the first bytes of every JPEG
        size = _size(_decode(content[start : start + MOST_CHARACTERS]))
    return size if size is not None and min(size) > 0 else None


def _decode(text: str) -> bytes:
    """As much as there is of whole groups; nothing where it is no base64."""
    try:
        raw = text.encode("ascii")
        return binascii.a2b_base64(raw[: len(raw) // 4 * 4])
    except (ValueError, binascii.Error):
        return b""


def _size(file: bytes) -> tuple[int, int] | None:
    if file.startswith(b"\x89PNG\r\n\x1a\n") and file[12:16] == b"IHDR" and len(file) >= 24:
        return int.from_bytes(file[16:20], "big"), int.from_bytes(file[20:24], "big")
    if file[:6] in (b"GIF87a", b"GIF89a") and len(file) >= 10:
        return int.from_bytes(file[6:8], "little"), int.from_bytes(file[8:10], "little")
    return _jpeg_size(file) if file.startswith(b"\xff\xd8") else None


def _jpeg_size(file: bytes) -> tuple[int, int] | None:
    """From the frame's segment; each segment says how long it is."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        marker = _MARKER.match(file, at)
        if marker is None:
            break
        kind, at = marker[1][0], marker.end()
        if kind in _ALONE:
            continue
        length = int.from_bytes(file[at : at + 2], "big")
        if kind in _FRAMES and len(file) >= at + 7:
            height = int.from_bytes(file[at + 3 : at + 5], "big")
            return int.from_bytes(file[at + 5 : at + 7], "big"), height
        at += max(2, length)
    return None
