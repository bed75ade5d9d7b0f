from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.scrape.response import ResponseReader, ScrapeResponseError

LIMIT = 100
PAGE = b"a 1\nb 2\n"


def answer(*fields: str, body: bytes = b"", status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *fields, "", ""]).encode() + body


SIZED = answer("Date: now", "Content-Length: 8", body=PAGE)
CHUNKED = answer(
    "Transfer-Encoding: chunked",
    body=b"3\r\na 1\r\n5;x=y\r\n\nb 2\n\r\n0\r\nTrailer: 1\r\n\r\n",
)
UNTIL_CLOSE = answer("Content-Type: text/plain", body=PAGE)
COMPLETE = {
    "sized": SIZED,
    "chunked": CHUNKED,
    "chunked, only line feeds": CHUNKED.replace(b"\r", b""),
    "only line feeds": SIZED.replace(b"\r", b""),
    "interim answers first": answer(status="HTTP/1.1 103 Early Hints") * 3 + SIZED,
    "chunked wins over a length": CHUNKED.replace(b"\r\n", b"\r\nContent-Length: 3\r\n", 1),
}


def read(data: bytes, cuts: list[int] | None = None, limit: int = LIMIT) -> ResponseReader | None:
    """The reader after the whole of ``data`` in pieces; None when the answer is not complete."""
    reader = ResponseReader(limit)
    bounds = [0, *sorted(cuts or []), len(data)]
    for start, end in pairwise(bounds):
        if start < end and reader.feed(data[start:end]):
            assert end == len(data)
            return reader
    return reader if reader.end() else None


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_an_answer_is_read(name: str) -> None:
    reader = read(COMPLETE[name])
    assert reader is not None
    assert (reader.status, reader.body, reader.keeps_alive) == (200, PAGE, True)


@given(
    st.sampled_from([*COMPLETE.values(), UNTIL_CLOSE]), st.lists(st.integers(0, 150), max_size=9)
)
def test_any_cutting_gives_the_same_answer(data: bytes, cuts: list[int]) -> None:
    reader = read(data, [min(cut, len(data)) for cut in cuts])
    assert reader is not None
    assert (reader.status, reader.body) == (200, PAGE)


USUAL = answer("Date: now", "Content-Length: %d", "Server: x")


@pytest.mark.parametrize(
    "data",
    [
        USUAL % 8 + PAGE,
        USUAL % 4 + PAGE[:4],
        USUAL % 16 + PAGE * 2,
        USUAL % 8 + PAGE[:-1],
        USUAL % 8 + PAGE + b"x",
        USUAL % 101 + b"x" * 101,
        (USUAL % 8).replace(b"now", b"later") + PAGE,
        (USUAL % 8).replace(b"200", b"404") + PAGE,
        (USUAL % 8).replace(b"Server: x", b"Connection: close") + PAGE,
        (USUAL % 8).replace(b": 8", b": " + b"0" * 18 + b"8") + PAGE,
        (USUAL % 8).replace(b": 8", b": " + b"0" * 19 + b"8") + PAGE,
        (USUAL % 8).replace(b": 8", b": ") + PAGE,
        (USUAL % 8).replace(b": 8", b": -8") + PAGE,
        (USUAL % 8).replace(b": 8", b": 8, 8") + PAGE,
        CHUNKED,
        UNTIL_CLOSE,
        b"",
    ],
)
@pytest.mark.parametrize("first", [USUAL % 8 + PAGE, CHUNKED, UNTIL_CLOSE])
def test_an_answer_reads_the_same_whatever_the_reader_read_before(
    first: bytes, data: bytes
) -> None:
    reader = ResponseReader(LIMIT)
    reader.feed(first)
    reader.begin()
    assert outcome(reader, data) == outcome(ResponseReader(LIMIT), data)


def outcome(reader: ResponseReader, data: bytes) -> object:
    try:
        is_complete = bool(data) and reader.feed(data)
    except ScrapeResponseError as error:
        return str(error)
    is_ended = reader.end()
    return is_complete, is_ended, reader.status, reader.body, reader.keeps_alive, reader.has_begun


def test_without_a_length_the_answer_ends_with_the_connection() -> None:
    reader = ResponseReader(LIMIT)
    assert not reader.feed(UNTIL_CLOSE)
    assert reader.end()
    assert reader.body == PAGE
    assert not reader.keeps_alive


@pytest.mark.parametrize("data", [b"", SIZED[:20], SIZED[:-1], CHUNKED[:-2], CHUNKED[:-30]])
def test_an_answer_that_is_cut_off_is_not_complete(data: bytes) -> None:
    assert read(data) is None


@pytest.mark.parametrize(
    ("fields", "status", "expected"),
    [
        ([], "HTTP/1.1 200 OK", True),
        (["Connection: close"], "HTTP/1.1 200 OK", False),
        (["CONNECTION:Keep-Alive, Close"], "HTTP/1.1 200 OK", False),
        ([], "HTTP/1.0 200 OK", False),
        (["Connection: keep-alive"], "HTTP/1.0 200 OK", True),
        ([], "HTTP/1.1 404", True),
    ],
)
def test_the_answer_says_whether_the_connection_stays(
    fields: list[str], status: str, expected: bool
) -> None:
    reader = read(answer(*fields, "Content-Length: 0", status=status))
    assert reader is not None
    assert reader.keeps_alive is expected


@pytest.mark.parametrize("data", [SIZED, CHUNKED])
def test_more_than_the_answer_ends_the_connection(data: bytes) -> None:
    reader = ResponseReader(LIMIT)
    assert reader.feed(data + b"HTTP/1.1 ")
    assert reader.body == PAGE
    assert not reader.keeps_alive


def test_some_statuses_have_no_body() -> None:
    reader = read(answer(status="HTTP/1.1 204 No Content"))
    assert reader is not None
    assert reader.status == 204


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"SSH-2.0-OpenSSH_9.6", "not HTTP/1: b'SSH-2.0-OpenSSH_9.6'"),
        (b"\x00\x00\x12\x04", "not HTTP/1"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP/1"),
        (b"HTTP/1.1 OK\r\n\r\n", "not HTTP/1"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "head larger than"),
        (answer("Content-Length: 101"), "larger than 100 bytes"),
        (answer("Content-Length: " + "9" * 5000), "bad content-length"),
        (answer("Content-Length: " + "0" * 5000 + "5"), "bad content-length"),
        (answer("Content-Length: -1"), "bad content-length"),
        (answer("Content-Length: 8, 8"), "bad content-length"),
        (answer("Content-Encoding: gzip", "Content-Length: 8"), "compressed"),
        (answer(body=b"x" * 101), "larger than 100 bytes"),
        (answer("Transfer-Encoding: chunked", body=b"65\r\n"), "larger than 100 bytes"),
        (
            answer("Transfer-Encoding: chunked", body=b"64\r\n" + b"x" * 100 + b"\r\n1\r\n"),
            "larger than 100 bytes",
        ),
        (answer("Transfer-Encoding: chunked", body=b"zz\r\n"), "bad chunk"),
        (answer("Transfer-Encoding: chunked", body=b"fffffffff\r\n"), "bad chunk"),
        (answer("Transfer-Encoding: chunked", body=b"1\r\nabc\r\n"), "bad chunk"),
        (answer("Transfer-Encoding: chunked", body=b"1;" + b"x" * 5000), "bad chunk"),
        (answer("Transfer-Encoding: chunked", body=b"0\r\n" + b"a: b\r\n" * 20_000), "trailers"),
    ],
)
def test_what_is_no_page_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(ScrapeResponseError) as error:
        read(data)
    assert rule in str(error.value)


def test_very_many_interim_answers_do_no_harm() -> None:
    reader = read(b"HTTP/1.1 100\n\n" * 10_000 + SIZED)
    assert reader is not None
    assert reader.body == PAGE


@given(st.binary(max_size=80), st.sampled_from([b"", *(data[:40] for data in COMPLETE.values())]))
def test_any_bytes_are_read_or_refused(noise: bytes, beginning: bytes) -> None:
    reader = ResponseReader(LIMIT)
    with suppress(ScrapeResponseError):
        if reader.feed(beginning + noise) or reader.end():
            assert len(reader.body) <= LIMIT
