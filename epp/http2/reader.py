"""From bytes to frames: the syntax of HTTP/2, whatever the frames mean.

Source: RFC 9113, sections 3.4, 4.1, 4.2 and 6.10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from epp.http2 import frames
from epp.http2.frames import (
    DEFAULT_FRAME_BYTES,
    END_HEADERS,
    HEAD_BYTES,
    PREFACE,
    STREAM_MASK,
    ErrorCode,
    Http2Error,
    read_head,
)

MAX_CONTINUATIONS = 32
"""A header block in more pieces than that is an attack on our patience."""

Frame: TypeAlias = tuple[int, int, int, bytes, int, int]
"""Type, flags, stream, and the payload as ``data[start:end]``."""


class FrameReader:
    """Cuts what comes from the socket into frames.

    HEADERS and its CONTINUATIONs come out as one frame, whose payload is the header block without
    padding and priority; DATA keeps its padding, which counts for flow control. The preface and the
    first SETTINGS are insisted on.
    """

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_frames",
        "_block_id",
        "_max_header_bytes",
        "_rest",
        "depends_on_itself",
        "has_preface",
        "has_settings",
    )

    def __init__(self, max_header_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self._rest = b""
        self._block: bytearray | None = None
        self._block_id = 0
        self._block_flags = 0
        self._block_frames = 0
        self.has_preface = False
        self.has_settings = False
        # of the HEADERS that came out last
        self.depends_on_itself = False

    def read(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is complete now; what is left over is kept for the next call.

        Raises:
            Http2Error: this is not HTTP/2, or a frame is where it must not be.
        """
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if not self.has_preface:
            if not data.startswith(PREFACE[:end]):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
            if end < len(PREFACE):
                self._rest = data
                return
            self.has_preface = True
            at = len(PREFACE)
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, stream_id = read_head(data, at)
            size = high << 8 | low
            if size > DEFAULT_FRAME_BYTES:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            start = at + HEAD_BYTES
            if start + size > end:
                break
            at = start + size
            stream_id &= STREAM_MASK
            if kind == frames.DATA and self.has_settings and self._block is None:
                yield kind, flags, stream_id, data, start, at
            else:
                yield from self._other(kind, flags, stream_id, data[start:at])
        self._rest = data[at:]

    def _other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Iterator[Frame]:
        """Any frame but DATA in its place."""
        if not self.has_settings:
            if kind != frames.SETTINGS:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS must come first")
            self.has_settings = True
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block_id):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a header block is not complete")
        if kind == frames.HEADERS:
            payload, self.depends_on_itself = frames.header_fragment(payload, flags, stream_id)
            if not flags & END_HEADERS:
                self._block = bytearray(payload)
                self._block_id, self._block_flags, self._block_frames = stream_id, flags, 0
                return
        elif kind == frames.CONTINUATION:
            block = self._continue(payload)
            if not flags & END_HEADERS:
                return
            self._block = None
            kind, flags, payload = frames.HEADERS, self._block_flags, bytes(block)
        yield kind, flags, stream_id, payload, 0, len(payload)

    def _continue(self, payload: bytes) -> bytearray:
        block = self._block
        if block is None:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block += payload
        self._block_frames += 1
        if len(block) > self._max_header_bytes or self._block_frames > MAX_CONTINUATIONS:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "the header block is too long")
        return block
