from __future__ import annotations

import pytest

from epp.http2 import frames
from epp.http2.frames import ErrorCode, Http2Error
from epp.http2.reader import MAX_CONTINUATIONS, FrameReader

GREETING = frames.PREFACE + frames.settings(())
MAX_HEADER_BYTES = 1000


def ready() -> FrameReader:
    reader = FrameReader(MAX_HEADER_BYTES)
    list(reader.read(GREETING))
    return reader


def payloads(reader: FrameReader, data: bytes) -> list[tuple[int, int, bytes]]:
    return [(kind, sid, buf[a:b]) for kind, _, sid, buf, a, b in reader.read(data)]


def test_frames_come_out_when_they_are_complete() -> None:
    reader = ready()
    whole = frames.frame(frames.DATA, 0, 1, b"abc") + frames.frame(frames.PING, 0, 0, b"12345678")
    found = [frame for byte in whole for frame in payloads(reader, bytes((byte,)))]
    assert found == [(frames.DATA, 1, b"abc"), (frames.PING, 0, b"12345678")]


def test_a_header_block_in_pieces_comes_out_as_one() -> None:
    reader = ready()
    data = (
        frames.frame(frames.HEADERS, frames.END_STREAM | frames.PADDED, 3, b"\x01ab\0")
        + frames.frame(frames.CONTINUATION, 0, 3, b"cd")
        + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 3, b"ef")
    )
    ((kind, flags, stream_id, block, start, end),) = list(reader.read(data))
    assert (kind, stream_id, block[start:end]) == (frames.HEADERS, 3, b"abcdef")
    assert flags & frames.END_STREAM


@pytest.mark.parametrize(
    "between",
    [
        frames.frame(frames.DATA, 0, 1, b"x"),
        frames.frame(frames.PING, 0, 0, b"12345678"),
        frames.frame(frames.CONTINUATION, 0, 5, b"x"),
        frames.frame(0x42, 0, 0, b"x"),
    ],
)
def test_nothing_may_stand_within_a_header_block(between: bytes) -> None:
    reader = ready()
    with pytest.raises(Http2Error):
        list(reader.read(frames.frame(frames.HEADERS, 0, 3, b"ab") + between))


@pytest.mark.parametrize(
    "flood",
    [
        frames.frame(frames.CONTINUATION, 0, 3) * (MAX_CONTINUATIONS + 1),
        frames.frame(frames.CONTINUATION, 0, 3, b"x" * 200) * 6,
    ],
    ids=["many", "long"],
)
def test_a_header_block_without_end_is_given_up(flood: bytes) -> None:
    reader = ready()
    with pytest.raises(Http2Error) as raised:
        list(reader.read(frames.frame(frames.HEADERS, 0, 3) + flood))
    assert raised.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_settings_must_come_first() -> None:
    reader = FrameReader(MAX_HEADER_BYTES)
    with pytest.raises(Http2Error):
        list(reader.read(frames.PREFACE + frames.frame(frames.PING, 0, 0, b"12345678")))


def test_no_frame_is_longer_than_we_allow() -> None:
    reader = ready()
    with pytest.raises(Http2Error) as raised:
        list(reader.read(frames.head(frames.DATA, 0, 1, 16_385)))
    assert raised.value.code is ErrorCode.FRAME_SIZE_ERROR
