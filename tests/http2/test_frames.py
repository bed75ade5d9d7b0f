from __future__ import annotations

import random

import pytest
from hyperframe.frame import Frame as ReferenceFrame
from hypothesis import given
from hypothesis import strategies as st

from epp.http2 import frames
from epp.http2.frames import ErrorCode, Http2Error, Setting
from epp.http2.reader import FrameReader


@given(st.integers(0, 9), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=20))
def test_a_frame_has_the_head_that_was_asked_for(
    kind: int, flags: int, stream_id: int, payload: bytes
) -> None:
    written = frames.frame(kind, flags, stream_id, payload)
    high, low, read_kind, read_flags, read_id = frames.read_head(written, 0)
    assert (high << 8 | low, read_kind, read_flags, read_id) == (
        len(payload),
        kind,
        flags,
        stream_id,
    )
    assert written[frames.HEAD_BYTES :] == payload


def test_other_libraries_read_our_frames() -> None:
    written = {
        "RstStreamFrame": frames.rst_stream(7, ErrorCode.CANCEL),
        "WindowUpdateFrame": frames.window_update(7, 5),
        "GoAwayFrame": frames.goaway(9, ErrorCode.ENHANCE_YOUR_CALM, "why"),
        "SettingsFrame": frames.settings([(Setting.INITIAL_WINDOW_SIZE, 3)]),
        "DataFrame": frames.message_head(5, 2) + b"ab",
    }
    for kind, data in written.items():
        frame, size = ReferenceFrame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9:]))
        assert type(frame).__name__ == kind
        assert size == len(data) - 9


@pytest.mark.parametrize("size", [0, 16_384, 16_385, 32_768, 40_000])
@pytest.mark.parametrize("end", [False, True])
def test_a_long_header_block_is_sent_in_pieces(size: int, end: bool) -> None:
    reader = FrameReader(max_header_bytes=100_000)
    block = random.Random(size).randbytes(size)
    written = frames.PREFACE + frames.settings(()) + frames.header_block(7, block, end=end)
    _, (kind, flags, stream_id, payload, start, stop) = list(reader.read(written))
    assert (kind, stream_id, payload[start:stop]) == (frames.HEADERS, 7, block)
    assert bool(flags & frames.END_STREAM) == end


def test_a_long_reason_is_cut() -> None:
    assert len(frames.goaway(0, ErrorCode.NO_ERROR, "x" * 1000)) < 300


def test_settings_are_read_as_they_were_written() -> None:
    values = [(Setting.HEADER_TABLE_SIZE, 0), (Setting.MAX_FRAME_SIZE, 20_000)]
    assert list(frames.read_settings(frames.settings(values)[9:])) == values


@pytest.mark.parametrize(
    ("payload", "flags", "fragment", "depends_on_itself"),
    [
        (b"block", 0, b"block", False),
        (b"\x02block\0\0", frames.PADDED, b"block", False),
        (b"\0\0\0\x09\x10block", frames.HAS_PRIORITY, b"block", False),
        (b"\x80\0\0\x07\x10block", frames.HAS_PRIORITY, b"block", True),
        (b"\x01\0\0\0\x09\x10block\0", frames.PADDED | frames.HAS_PRIORITY, b"block", False),
    ],
)
def test_a_header_fragment_stands_between_priority_and_padding(
    payload: bytes, flags: int, fragment: bytes, depends_on_itself: bool
) -> None:
    assert frames.header_fragment(payload, flags, 7) == (fragment, depends_on_itself)


@pytest.mark.parametrize(
    ("payload", "flags"),
    [(b"", frames.PADDED), (b"\x06abcde", frames.PADDED), (b"\0\0\0\x09", frames.HAS_PRIORITY)],
)
def test_what_does_not_fit_its_frame_is_an_error(payload: bytes, flags: int) -> None:
    with pytest.raises(Http2Error):
        frames.header_fragment(payload, flags, 7)


def test_the_highest_bit_of_an_increment_does_not_count() -> None:
    assert frames.increment(b"\x80\0\0\x05") == 5
