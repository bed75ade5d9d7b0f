from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.core.request import ChatMessage, ContentBlock, RequestBody
from epp.formats.openai import (
    ReadBody,
    read_any_chat,
    read_any_completions,
    read_chat,
    read_completions,
    read_conversations,
    read_embeddings,
    read_images,
    read_responses,
)
from tests.formats.bodies import HOSTILE, bodies, damaged, outcome

U = (ChatMessage("u", "c"),)
MESSAGES = b'"messages":[{"role":"u","content":"c"}]'
IDS = struct.pack("<3I", 1, 2, 2**32 - 1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m","prompt":"p","max_tokens":7}', RequestBody("m", "p", max_tokens=7)),
        (b'{"model":"m","prompt":"p","max_tokens":7.0}', RequestBody("m", "p", max_tokens=7)),
        (b'{"model":"m","prompt":"p","max_tokens":0}', RequestBody("m", "p", max_tokens=0)),
        (b'{"model":"m","prompt":"p","max_tokens":7.5}', RequestBody("m", "p")),
        (b'{"model":"m","prompt":"p","max_tokens":-1}', RequestBody("m", "p")),
        (b'{"model":"m","prompt":"p","max_tokens":"7"}', RequestBody("m", "p")),
        (b'{"model":"m","prompt":"p","max_tokens":true}', RequestBody("m", "p")),
        (b'{"model":"m","prompt":"p","max_tokens":1e300}', RequestBody("m", "p")),
        (b'{"model":"m","prompt":"p","max_completion_tokens":7}', RequestBody("m", "p")),
        (b'{"model":"m","prompt":["p"]}', RequestBody("m", "p")),
        (b'{"model":"m","prompt":["p","q"]}', RequestBody("m", prompts=("p", "q"))),
        (b'{"model":"m","prompt":[1,2.0,4294967295]}', RequestBody("m", prompts=(IDS,))),
        (b'{"model":"m","prompt":"p",%b}' % MESSAGES, RequestBody("m", "p")),
        (b'{"model":7,"prompt":"p"}', RequestBody(None, "p")),
        (b'{"prompt":"p","stream":true}', RequestBody(None, "p", stream=True)),
        (b'{"model":"m","prompt":"p","cache_salt":null}', RequestBody("m", "p")),
        (b'{"model":"m\xff","prompt":"\\ud800x"}', RequestBody("m\ufffd", "\ufffdx")),
    ],
)
def test_completions_have_a_prompt_of_any_kind(body: bytes, expected: RequestBody) -> None:
    assert read_completions(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"model":"m","max_tokens":1,"max_completion_tokens":2,%b}' % MESSAGES,
            RequestBody("m", messages=U, max_tokens=2),
        ),
        (
            b'{"model":"m","max_tokens":1,"max_completion_tokens":-2,%b}' % MESSAGES,
            RequestBody("m", messages=U, max_tokens=1),
        ),
        (
            b'{"model":"m","tools":[ {"a":1.0} ],%b}' % MESSAGES,
            RequestBody("m", messages=U, tools=b'[ {"a":1.0} ]'),
        ),
        (b'{"model":"m","tools":[ ],%b}' % MESSAGES, RequestBody("m", messages=U)),
        (b'{"model":"m","tools":null,%b}' % MESSAGES, RequestBody("m", messages=U)),
        (b'{"model":"m","prompt":"p",%b}' % MESSAGES, RequestBody("m", messages=U)),
        (b'{"model":"m","prompt":[1],%b}' % MESSAGES, RequestBody("m", messages=U)),
        (b"{%b}" % MESSAGES, RequestBody(None, messages=U)),
        (
            b'{"model":"m","messages":[{"role":"u","content":"\xff"}]}',
            RequestBody("m", messages=(ChatMessage("u", "\ufffd"),)),
        ),
    ],
)
def test_a_chat_has_messages_whatever_else(body: bytes, expected: RequestBody) -> None:
    assert read_chat(body) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            b'{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}',
            ContentBlock("input_audio", media="AA==wav"),
        ),
        (
            b'{"type":"video_url","video_url":{"url":"http://v"}}',
            ContentBlock("video_url", media="http://v"),
        ),
        (
            b'{"type":"image_url","image_url":{"url":"http://i"}}',
            ContentBlock("image_url", image_url="http://i"),
        ),
        (b'{"type":"input_audio","input_audio":7}', ContentBlock("input_audio")),
        (b'{"type":"video_url","video_url":{"url":7}}', ContentBlock("video_url")),
    ],
)
def test_media_are_their_url_or_their_data(block: bytes, expected: ContentBlock) -> None:
    body = b'{"model":"m","messages":[{"role":"u","content":[%b]}]}' % block
    assert read_chat(body) == RequestBody("m", messages=(ChatMessage("u", (expected,)),))


@pytest.mark.parametrize(
    ("read", "body", "expected"),
    [
        (read_responses, b'{"model":"m","input":"i"}', RequestBody("m", text=b'[{"input":"i"}]')),
        (
            read_responses,
            b'{"input": [ 1.0 ],"tools":[ {} ],"model":"m","instructions" : "x y","stream":true,'
            b'"max_output_tokens":9,"cache_salt":"s"}',
            RequestBody(
                "m",
                text=b'[{"instructions":"x y"},{"tools":[{}]},{"input":[1.0]}]',
                stream=True,
                max_tokens=9,
                cache_salt="s",
            ),
        ),
        (
            read_conversations,
            b'{"model":"m","items":[ {"type":"message","content":[1]} ],"metadata":{}}',
            RequestBody("m", text=b'[{"type":"message","content":[1]}]'),
        ),
        (read_embeddings, b'{"model":"m","input":"i"}', RequestBody("m", "i")),
        (
            read_embeddings,
            b'{"model":"m","input":["i", "j"]}',
            RequestBody("m", text=b'["i","j"]'),
        ),
        (
            read_embeddings,
            b'{"model":"m","input":[1,2,4294967295]}',
            RequestBody("m", prompts=(IDS,)),
        ),
        (read_images, b'{"model":"m","prompt":"a cat","n":2}', RequestBody("m", "a cat")),
    ],
)
def test_other_requests_are_read_by_their_own_rules(
    read: ReadBody, body: bytes, expected: RequestBody
) -> None:
    assert read(body) == expected


REQUIRED: dict[ReadBody, str] = {
    read_completions: "invalid completions request: must have prompt field",
    read_chat: "invalid chat completions request: must have valid messages field",
    read_responses: "invalid responses request: must have input field",
    read_conversations: "invalid conversations request: must have items field",
    read_embeddings: "invalid embeddings request: must have input field",
    read_images: "invalid images generations request: must have prompt field",
}


@pytest.mark.parametrize(
    ("read", "members"),
    [
        *[(read, b'"x":1') for read in REQUIRED],
        *[
            (read_completions, b'"prompt":%b' % value)
            for value in (b"7", b"[]", b'""', b"[[1]]", b'["p",1]', b'[1,"p"]', b"[1.5]", b"[-1]")
        ],
        (read_completions, b'"prompt":[4294967296]'),
        (read_completions, b'"prompt":[true]'),
        (read_completions, b'"prompt":"p","cache_salt":7'),
        (read_chat, b'"messages":[]'),
        (read_chat, b'"messages":[7]'),
        (read_chat, b'"messages":[{"content":7}]'),
        (read_responses, b'"input":null'),
        (read_conversations, b'"items":[]'),
        (read_conversations, b'"items":[7]'),
        (read_embeddings, b'"input":[]'),
        (read_embeddings, b'"input":["a",1]'),
        (read_embeddings, b'"input":{}'),
        (read_images, b'"prompt":""'),
        (read_images, b'"prompt":["p"]'),
    ],
)
def test_what_is_missing_is_named_with_the_model(read: ReadBody, members: bytes) -> None:
    with pytest.raises(BadRequestError) as raised:
        read(b'{"model":"m",%b}' % members)
    assert (raised.value.message, raised.value.model) == (REQUIRED[read], "m")


@pytest.mark.parametrize("read", REQUIRED)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"7", b'{"x":NaN}', b"--x\r\nform"])
def test_what_is_no_object_is_refused(read: ReadBody, body: bytes) -> None:
    with pytest.raises(BadRequestError, match="error unmarshaling request bodyMap: "):
        read(body)


BLOCKS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["text", "image_url", "input_audio"]),
            "text": st.text(max_size=3),
            "image_url": st.fixed_dictionaries({"url": st.text(max_size=3)}),
            "video_url": st.fixed_dictionaries({"url": st.text(max_size=3)}) | st.none(),
            "input_audio": st.fixed_dictionaries({"data": st.text(max_size=3)}) | st.none(),
        },
    ),
    max_size=2,
)
CHATS = st.lists(
    st.fixed_dictionaries({}, optional={"role": st.text(max_size=3), "content": st.text() | BLOCKS})
)
INNER = ("role", "content", "type", "text", "image_url", "input_audio", "url", "data", "input")
ANY = bodies(
    (
        *("model", "prompt", "messages", "stream", "cache_salt", "max_tokens", "tools", "input"),
        *("max_completion_tokens", "max_output_tokens", "instructions", "items"),
    ),
    INNER,
    model=st.just("m"),
    messages=CHATS,
    prompt=st.just("p"),
    stream=st.booleans(),
    cache_salt=st.just("s"),
    max_tokens=st.integers(0, 9),
    input=st.just("i"),
    items=CHATS,
)


@given(st.binary() | damaged(ANY), st.sampled_from(list(REQUIRED)))
def test_any_bytes_are_read_or_refused(body: bytes, read: ReadBody) -> None:
    got = outcome(read, body)
    if isinstance(got, RequestBody):
        given: list[Any] = [got.prompt is not None, got.messages is not None]
        assert sum([*given, bool(got.prompts), bool(got.text)]) == 1


@given(damaged(ANY))
def test_the_usual_readings_read_what_the_lenient_ones_read(body: bytes) -> None:
    assert outcome(read_completions, body) == outcome(read_any_completions, body)
    assert outcome(read_chat, body) == outcome(read_any_chat, body)


@pytest.mark.parametrize("read", REQUIRED)
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_depth_and_huge_numbers_are_survived(read: ReadBody, body: bytes) -> None:
    outcome(read, body)
