from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.request import Usage
from epp.usage import (
    MAX_EVENT_BYTES,
    MAX_JSON_BYTES,
    EventUsageReader,
    JsonUsageReader,
    any_usage_of,
    merged,
    usage_of,
    usage_reader,
)

Reader: TypeAlias = JsonUsageReader | EventUsageReader

NOTHING = Usage()
SEVEN = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
SEVEN_TEXT = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'


def read(reader: Reader, *chunks: bytes) -> Usage | None:
    for chunk in chunks:
        reader.feed(chunk)
    return reader.result()


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (SEVEN_TEXT, SEVEN),
        (b' { "choices":[] , "usage" : { "total_tokens" : 7 } } ', Usage(total_tokens=7)),
        (b'{"usage":{"prompt_tokens":3}}', Usage(prompt_tokens=3)),
        (
            b'{"usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}',
            Usage(prompt_tokens=3, cached_tokens=2),
        ),
        (b'{"usage":{"prompt_token_details":{"cached_tokens":2}}}', Usage(cached_tokens=2)),
        (b'{"usage":{"prompt_tokens_details":null}}', NOTHING),
        (b'{"usage":{"prompt_tokens_details":[1]}}', NOTHING),
        (b'{"usage":{"prompt_tokens":"12","total_tokens":12.0}}', Usage(12, None, 12)),
        (b'{"usage":{"prompt_tokens":-1,"total_tokens":1e300}}', NOTHING),
        (b'{"usage":{"prompt_tokens":true,"total_tokens":[]}}', NOTHING),
        (b'{"usage":{"prompt_tokens":"x","total_tokens":""}}', NOTHING),
        (b'{"usage":{"total_tokens":%s}}' % (b"9" * 400), NOTHING),
        (b'{"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}', SEVEN),
        (b'{"usage":{"prompt_tokens":3,"input_tokens":9}}', Usage(prompt_tokens=3)),
        (b'{"usage":{"input_tokens_details":{"cached_tokens":2}}}', Usage(cached_tokens=2)),
        (b'{"response":%b}' % SEVEN_TEXT, SEVEN),
        (b'{"usage":null,"response":%b}' % SEVEN_TEXT, SEVEN),
        (b'{"usage":{"total_tokens":1},"response":%b}' % SEVEN_TEXT, Usage(total_tokens=1)),
        (b'{"response":[{"usage":{"total_tokens":1}}]}', None),
        (b'{"usage":{}}', NOTHING),
        (b'{"usage":null}', None),
        (b'{"usage":"many"}', None),
        (b'{"text":"\\"usage\\":{\\"total_tokens\\":7}"}', None),
        (b'{"choices":[{"usage":{"total_tokens":7}}]}', None),
        (b'[{"usage":{"total_tokens":7}}]', None),
        (b'{"usage":{"total_tokens":7}', None),
        (b"", None),
        (b"upstream connect error", None),
    ],
)
def test_what_is_countable_is_counted(answer: bytes, usage: Usage | None) -> None:
    assert read(JsonUsageReader(), answer) == usage


def test_of_a_giant_answer_the_usage_stays_unknown() -> None:
    padding = b" " * (MAX_JSON_BYTES // 2)
    assert read(JsonUsageReader(), padding, padding, SEVEN_TEXT) is None


@pytest.mark.parametrize(
    ("stream", "usage"),
    [
        (b"data: " + SEVEN_TEXT + b"\n\ndata: [DONE]\n\n", SEVEN),
        (b"data:" + SEVEN_TEXT, SEVEN),
        (b"data: " + SEVEN_TEXT + b"\r\n\r\ndata: [DONE]\r\n\r\n", SEVEN),
        (b"data: " + SEVEN_TEXT + b'\n\ndata: {"usage":null}\n\n', SEVEN),
        (b'data: {"usage":{"total_tokens":1}}\n\ndata: ' + SEVEN_TEXT + b"\n\n", SEVEN),
        (b"event: message\nid: 1\ndata: " + SEVEN_TEXT + b"\n\n", SEVEN),
        (b": " + SEVEN_TEXT + b"\n\n", None),
        (b'data: {"usage":{"total_tokens":\n\n', None),
        (b"data: [DONE]\n\n", None),
        (b"", None),
    ],
)
def test_a_stream_tells_its_usage_in_an_event(stream: bytes, usage: Usage | None) -> None:
    assert read(EventUsageReader(), stream) == usage


def test_a_giant_event_is_skipped_and_the_next_one_is_read() -> None:
    half = b"data: " + b"x" * MAX_EVENT_BYTES
    assert read(EventUsageReader(), half, half, b"\ndata: " + SEVEN_TEXT + b"\n\n") == SEVEN


def test_of_a_giant_event_nothing_is_read_until_its_line_ends() -> None:
    giant = b"data: " + b"x" * MAX_EVENT_BYTES
    assert read(EventUsageReader(), giant, b"data: " + SEVEN_TEXT) is None
    assert read(EventUsageReader(), giant, b"data: " + SEVEN_TEXT + b"\n") is None
    padded = b"data: " + SEVEN_TEXT + b" " * MAX_EVENT_BYTES
    assert read(EventUsageReader(), padded + b"\n") is None
    assert read(EventUsageReader(), padded[:100], padded[100:] + b"\n") is None
    after = b"x\n\ndata: " + SEVEN_TEXT + b"\n"
    assert read(EventUsageReader(), giant, b"x", after) == SEVEN


def test_an_event_of_the_longest_size_is_read_in_any_pieces() -> None:
    event = (b"data: " + SEVEN_TEXT).ljust(MAX_EVENT_BYTES)
    for size in (1000, MAX_EVENT_BYTES - 1, MAX_EVENT_BYTES):
        chunks = [event[at : at + size] for at in range(0, len(event), size)]
        assert read(EventUsageReader(), *chunks) == SEVEN
        assert read(EventUsageReader(), *chunks, b"\n") == SEVEN


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        (None, Usage(3), Usage(3, None, 3)),
        (Usage(3, 1, 4, 2), Usage(None, 4), Usage(3, 4, 7, 2)),
        (Usage(3), Usage(0, 4, 9, 0), Usage(3, 4, 7, 0)),
        (Usage(3), Usage(), Usage(3, None, 3)),
        (None, Usage(), Usage()),
        (Usage(), Usage(0, 0), Usage(0, 0, 0)),
    ],
)
def test_counts_that_come_one_by_one_are_put_together(
    earlier: Usage | None, later: Usage, expected: Usage
) -> None:
    assert merged(earlier, later) == expected


def test_an_answer_in_events_has_a_reader_for_events() -> None:
    assert isinstance(usage_reader(True), EventUsageReader)
    assert isinstance(usage_reader(False), JsonUsageReader)


class CountedChunk(bytes):
    """A chunk that counts the bytes that are copied when it is appended to others."""

    copied = 0

    def __radd__(self, other: object) -> Any:
        if isinstance(other, bytes):
            CountedChunk.copied += len(other)
        return NotImplemented


def test_a_line_in_many_chunks_is_not_copied_for_each() -> None:
    event = b"data: " + SEVEN_TEXT.ljust(200_000)
    CountedChunk.copied = 0
    chunks = [CountedChunk(event[at : at + 50]) for at in range(0, len(event), 50)]
    assert read(EventUsageReader(), *chunks, b"\n") == SEVEN
    assert CountedChunk.copied <= len(event)


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
COUNTS = st.integers(0, 1000) | ANY_JSON
USAGES = st.dictionaries(
    st.sampled_from(
        ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"]
    ),
    COUNTS,
) | st.fixed_dictionaries(
    {"prompt_tokens_details": ANY_JSON | st.fixed_dictionaries({"cached_tokens": COUNTS})}
)
ANSWERS = st.fixed_dictionaries({"usage": USAGES | ANY_JSON}).map(msgspec.json.encode)
LINES = (
    ANSWERS.map(lambda text: b"data: " + text)
    | st.sampled_from([b"", b"\r", b"data: [DONE]", b": ping", b"data: " + SEVEN_TEXT])
    | st.binary(max_size=20)
)
STREAMS = st.lists(LINES, max_size=6).map(b"\n".join)


@st.composite
def chunked(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> list[bytes]:
    """A text in any pieces, empty ones included."""
    text = draw(texts)
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    edges = [0, *cuts, len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(chunked(STREAMS))
def test_any_chunking_of_a_stream_gives_the_same_usage(chunks: list[bytes]) -> None:
    assert read(EventUsageReader(), *chunks) == read(EventUsageReader(), b"".join(chunks))


@given(chunked(ANSWERS))
def test_any_chunking_of_an_answer_gives_the_same_usage(chunks: list[bytes]) -> None:
    assert read(JsonUsageReader(), *chunks) == read(JsonUsageReader(), b"".join(chunks))


def plain_reading(stream: bytes) -> Usage | None:
    """Every event on its own, as if it were an answer."""
    usage = None
    for line in stream.splitlines():
        if line.startswith(b"data:"):
            usage = read(JsonUsageReader(), line[5:]) or usage
    return usage


@given(STREAMS)
def test_the_fast_way_through_a_stream_reads_what_the_plain_one_reads(stream: bytes) -> None:
    assert read(EventUsageReader(), stream) == plain_reading(stream)


@given(st.binary() | ANSWERS)
def test_a_well_formed_usage_is_read_as_any_other(answer: bytes) -> None:
    assert usage_of(answer) == any_usage_of(answer)


@given(
    chunked(st.binary() | ANSWERS | STREAMS), st.sampled_from([JsonUsageReader, EventUsageReader])
)
def test_no_bytes_make_a_reader_raise(
    chunks: list[bytes], reader: type[JsonUsageReader] | type[EventUsageReader]
) -> None:
    usage = read(reader(), *chunks)
    assert usage is None or isinstance(usage, Usage)
