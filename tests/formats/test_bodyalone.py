from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.core.request import ChatMessage, ContentBlock, RequestBody
from epp.formats.bodyalone import BodyAloneParser, parse_any

UNREADABLE = "Error unmarshaling request body"
NO_MODEL = "model not found in request body"
PREFIX = "failed to extract request data: inference gateway: BadRequest - "
INVALID = PREFIX + "invalid request format"
NO_MESSAGES = (
    PREFIX + "invalid chat-completions request: inference gateway: BadRequest - "
    "chat-completions request must have at least one message"
)


def parse(body: bytes) -> RequestBody:
    return BodyAloneParser().parse({}, body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m","prompt":"p"}', RequestBody("m", prompt="p")),
        (b'\t{ "prompt" : "p" , "model" : "m" }\n', RequestBody("m", prompt="p")),
        (b'{"model":"","prompt":"p"}', RequestBody("", prompt="p")),
        (b'{"model":"a","model":"b","prompt":"p"}', RequestBody("b", prompt="p")),
        (b'{"model":"m","prompt":"p","stream":true}', RequestBody("m", prompt="p", stream=True)),
        (b'{"model":"m","prompt":"p","stream":"true"}', RequestBody("m", prompt="p")),
        (b'{"model":"m","prompt":"p","stream":null}', RequestBody("m", prompt="p")),
        (
            b'{"model":"m","prompt":"p","cache_salt":"s"}',
            RequestBody("m", prompt="p", cache_salt="s"),
        ),
        (b'{"model":"m","prompt":"p","cache_salt":null}', RequestBody("m", prompt="p")),
        (
            b'{"model":"m","prompt":"p","messages":[{"role":"u","content":"c"}]}',
            RequestBody("m", prompt="p"),
        ),
        (
            b'{"model":"m","prompt":"","messages":[{"role":"u","content":"c"}]}',
            RequestBody("m", messages=(ChatMessage("u", "c"),)),
        ),
        (
            b'{"model":"m","prompt":["p"],"messages":[{"role":"u","content":"c"}]}',
            RequestBody("m", messages=(ChatMessage("u", "c"),)),
        ),
        (
            b'{"model":"m","messages":[{"role":"u"},{"role":"u","content":null},{"content":""}]}',
            RequestBody("m", messages=(ChatMessage("u"), ChatMessage("u"), ChatMessage(""))),
        ),
        (
            b'{"model":"m","messages":[{"role":"u","name":1,"content":[{"type":"text","text":"c"},'
            b'{"type":"image_url","image_url":{"url":"x","detail":"low"}},'
            b'{"type":"input_audio","input_audio":{"data":""}}]}]}',
            RequestBody(
                "m",
                messages=(
                    ChatMessage(
                        "u",
                        (
                            ContentBlock("text", "c"),
                            ContentBlock("image_url", "", "x"),
                            ContentBlock("input_audio"),
                        ),
                    ),
                ),
            ),
        ),
        (b'{"model":"m\xff","prompt":"p\xff"}', RequestBody("m\ufffd", prompt="p\ufffd")),
        (b'{"model":"m","prompt":"\\ud800x"}', RequestBody("m", prompt="\ufffdx")),
        (b'{"model":"m","prompt":"\\ud83d\\ude00"}', RequestBody("m", prompt="😀")),
        (
            b'{"model":"m","prompt":"p","seed":123456789012345678901234567890,"t":1e-400}',
            RequestBody("m", prompt="p"),
        ),
    ],
)
def test_a_body_is_read_for_what_scheduling_needs(body: bytes, expected: RequestBody) -> None:
    assert parse(body) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", UNREADABLE),
        (b"{", UNREADABLE),
        (b"[]", UNREADABLE),
        (b'"model"', UNREADABLE),
        (b"7", UNREADABLE),
        (b'{"model":"m","prompt":"p"}x', UNREADABLE),
        (b'{"model":"m","prompt":"p",}', UNREADABLE),
        (b'{"model":"m","prompt":"p","x":NaN}', UNREADABLE),
        (b"\xef\xbb\xbf{}", UNREADABLE),
        (b'{"model":"m","prompt":"a\nb"}', UNREADABLE),
        (b"[" * 100_000, UNREADABLE),
        (b'{"model":"m","x":' * 100_000, UNREADABLE),
        (b"null", NO_MODEL),
        (b"{}", NO_MODEL),
        (b'{"messages":[]}', NO_MODEL),
        (b'{"prompt":"p","cache_salt":7}', NO_MODEL),
        (b'{"model":7,"prompt":"p"}', NO_MODEL),
        (b'{"model":["m"],"prompt":"p"}', NO_MODEL),
        (b'{"model":"m"}', NO_MESSAGES),
        (b'{"model":"m","prompt":""}', NO_MESSAGES),
        (b'{"model":"m","messages":[]}', NO_MESSAGES),
        (b'{"model":"m","messages":null}', NO_MESSAGES),
        (b'{"model":"m","messages":"x"}', INVALID),
        (b'{"model":"m","messages":[7]}', INVALID),
        (b'{"model":"m","messages":[{"content":7}]}', INVALID),
        (b'{"model":"m","messages":[{"role":7}]}', INVALID),
        (b'{"model":"m","prompt":"p","cache_salt":7}', INVALID),
    ],
)
def test_a_body_that_is_no_request_is_the_clients_fault(body: bytes, message: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        parse(body)
    assert raised.value.message == message


@pytest.mark.parametrize("body", [b'{"prompt":"p"}', b'{"model":null,"prompt":"p"}'])
def test_a_model_that_is_not_named_may_be_put_in(body: bytes) -> None:
    assert parse(body) == RequestBody(None, prompt="p")
    assert parse(BodyAloneParser().rename_model(body, "t")) == RequestBody("t", prompt="p")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("t", b'{ "model" : "t", "seed": 9007199254740993 }'),
        ('a"\\', b'{ "model" : "a\\"\\\\", "seed": 9007199254740993 }'),
        ("ü", '{ "model" : "ü", "seed": 9007199254740993 }'.encode()),
    ],
)
def test_only_the_models_name_is_rewritten(target: str, expected: bytes) -> None:
    body = b'{ "model" : "m", "seed": 9007199254740993 }'
    assert BodyAloneParser().rename_model(body, target) == expected


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "image_url"]), inner)
    ),
    max_leaves=6,
)
BODIES = st.dictionaries(
    st.sampled_from(["model", "prompt", "messages", "stream", "cache_salt", "x"]), VALUES
).map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body of about the right shape with some bytes exchanged, dropped or put in."""
    body = bytearray(draw(BODIES))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        until = draw(st.integers(at, min(at + 3, len(body))))
        body[at:until] = draw(st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"{", b"\\u"]))
    return bytes(body)


@given(st.binary() | damaged(), st.text(st.characters(codec="utf-8"), max_size=5))
def test_any_bytes_are_read_or_refused_and_what_was_read_can_be_renamed(
    body: bytes, target: str
) -> None:
    try:
        read = parse(body)
    except BadRequestError:
        return
    assert (read.prompt is None) != (read.messages is None)
    renamed = parse(BodyAloneParser().rename_model(body, target))
    assert renamed.model == target
    assert (renamed.prompt, renamed.messages) == (read.prompt, read.messages)


@given(st.binary() | damaged())
def test_the_usual_reading_reads_what_the_lenient_one_reads(body: bytes) -> None:
    def outcome(read: Callable[[bytes], RequestBody]) -> RequestBody | tuple[str, str]:
        try:
            return read(body)
        except BadRequestError as error:
            return error.message, error.model

    assert outcome(parse) == outcome(parse_any)
