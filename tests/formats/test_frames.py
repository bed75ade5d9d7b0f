from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.request import Usage
from epp.formats.frames import MAX_MESSAGE_BYTES, FrameError, FrameUsageReader, frame, unframe


def counting(message: bytes) -> Usage | None:
    """A message is its count; empty ones have none."""
    if message.startswith(b"x"):
        raise ValueError("no count")
    return Usage(completion_tokens=len(message)) if message else None


def read(*chunks: bytes) -> Usage | None:
    reader = FrameUsageReader(counting)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.result()


@given(st.binary())
def test_a_message_comes_out_of_its_frame(message: bytes) -> None:
    assert unframe(frame(message)) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "it is cut off"),
        (b"\0\0\0\0", "it is cut off"),
        (b"\1\0\0\0\0", "compressed messages are not supported"),
        (b"\0\0\0\0\2x", "1 bytes are there where it says 2"),
        (b"\0\0\0\0\0x", "1 bytes are there where it says 0"),
        (frame(b"a") + frame(b"b"), "7 bytes are there where it says 1"),
    ],
)
def test_what_is_not_one_plain_message_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        unframe(body)


@pytest.mark.parametrize(
    ("chunks", "tokens"),
    [
        ([], None),
        ([b"\0\0\0"], None),
        ([frame(b"")], None),
        ([frame(b"abc")], 3),
        ([frame(b"abc") + frame(b"ab")], 2),
        ([frame(b"abc"), frame(b"x")], 3),
        ([frame(b"abc"), b"\1\0\0\0\2zz", frame(b"")], 3),
        ([frame(b"a" * (MAX_MESSAGE_BYTES + 1)), frame(b"ab")], 2),
        ([frame(b"a" * MAX_MESSAGE_BYTES)], MAX_MESSAGE_BYTES),
    ],
)
def test_the_messages_of_an_answer_tell_its_usage(chunks: list[bytes], tokens: int | None) -> None:
    usage = read(*chunks)
    assert (usage and usage.completion_tokens) == tokens


def test_a_long_message_that_is_passed_over_is_not_kept() -> None:
    reader = FrameUsageReader(counting)
    reader.feed(b"\0\xff\xff\xff\xff" + b"a" * 100)
    for _ in range(100):
        reader.feed(b"a" * 100)
    assert len(reader._rest) == 0


MESSAGES = st.lists(st.binary(max_size=9).map(frame) | st.just(b"\1\0\0\0\2zz")).map(b"".join)


@given(MESSAGES | st.binary(), st.lists(st.integers(0, 60)).map(sorted))
def test_any_chunking_gives_the_same_usage(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *[min(cut, len(stream)) for cut in cuts], len(stream)]
    assert read(*[stream[start:end] for start, end in pairwise(edges)]) == read(stream)
