from __future__ import annotations

import asyncio
import itertools
import zlib
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.backend import COMPLETION, EVENT, LAST_EVENTS
from benchmarks.client import Answer, Client


class FakeTransport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def writelines(self, pieces: list[bytes]) -> None:
        self.sent += pieces


def read_answer(pieces: list[bytes]) -> Answer | None:
    async def run() -> Answer | None:
        client = Client()
        client.connection_made(cast(asyncio.Transport, FakeTransport()))
        answer = client.send(b"{}")
        for piece in pieces:
            client.data_received(piece)
        return answer.result() if answer.done() else None

    # With a factory the runner leaves the thread's current loop, which pytest-asyncio owns, alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(run())


def chunked(*chunks: bytes) -> bytes:
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


def answer_with(body: bytes) -> Answer:
    return Answer(status=200, body_bytes=len(body), checksum=zlib.crc32(body))


CHUNKS = [b"hello", b"\r\n", *[EVENT] * 3, LAST_EVENTS]
STREAM = chunked(*CHUNKS)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(COMPLETION), COMPLETION)


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)))
def test_any_cutting_of_a_chunked_answer_reads_the_same(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    assert read_answer(pieces) == answer_with(b"".join(CHUNKS))


@pytest.mark.parametrize("message", [STREAM, PLAIN], ids=["chunked", "with a length"])
def test_an_answer_is_complete_with_its_last_byte_only(message: bytes) -> None:
    assert read_answer([message]) is not None
    assert read_answer([message[:-1]]) is None


def test_a_plain_answer_is_summed_up() -> None:
    assert read_answer([PLAIN[:30], PLAIN[30:]]) == answer_with(COMPLETION)


def test_an_answer_with_another_content_of_the_same_length_differs() -> None:
    assert read_answer([PLAIN.replace(b"story", b"stori")]) != answer_with(COMPLETION)


def test_an_empty_chunked_answer_ends_at_once() -> None:
    assert read_answer([chunked()]) == answer_with(b"")
