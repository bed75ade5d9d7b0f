from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import MediaFeature
from epp.core.errors import BadRequestError
from epp.core.request import Headers, RequestBody, Usage
from epp.formats.frames import frame
from epp.formats.wire import encode_varint
from epp.plugins.parsers.vllmgrpc import VllmgrpcParser
from tests.formats.bodies import damaged, outcome
from tests.formats.messages import body

GENERATE: Headers = {":path": b"/vllm.grpc.engine.VllmEngine/Generate"}
EMBED: Headers = {":path": b"/vllm.grpc.engine.VllmEngine/Embed"}
IDS = (struct.pack("<3I", 1, 300, 2**32 - 1),)
TOKENIZED = {"original_text": "x", "input_ids": [1, 300, 2**32 - 1]}
INVALID = "invalid or unsupported gRPC payload: "


def generate(text: bytes) -> RequestBody:
    return VllmgrpcParser().parse(GENERATE, text)


def embed(text: bytes) -> RequestBody:
    return VllmgrpcParser().parse(EMBED, text)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"text": "p"}, RequestBody(None, "p", takes_model=False)),
        ({"text": "p", "stream": True}, RequestBody(None, "p", stream=True, takes_model=False)),
        ({"tokenized": TOKENIZED}, RequestBody(None, prompts=IDS, takes_model=False)),
        (
            {"text": "p", "sampling_params": {"max_tokens": 9, "temperature": 0.5}},
            RequestBody(None, "p", max_tokens=9, takes_model=False),
        ),
        ({"text": "p", "sampling_params": {}}, RequestBody(None, "p", takes_model=False)),
        (
            {
                "tokenized": TOKENIZED,
                "mm_inputs": {
                    "mm_placeholders": [{"offset": 1, "length": 2}, {"length": 4}, {"offset": 9}],
                    "mm_hashes": ["h"],
                },
            },
            RequestBody(
                None,
                prompts=IDS,
                features=(MediaFeature("image", "h", 1, 2), MediaFeature("image", "", 0, 4)),
                takes_model=False,
            ),
        ),
    ],
)
def test_a_generate_request_is_text_or_token_ids(
    members: dict[str, Any], expected: RequestBody
) -> None:
    assert generate(body("GenerateRequest", request_id="r", **members)) == expected


def test_an_embed_request_is_token_ids() -> None:
    expected = RequestBody(None, prompts=IDS, takes_model=False)
    assert embed(body("EmbedRequest", request_id="r", tokenized=TOKENIZED)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", INVALID + "it is cut off"),
        (b"{}", INVALID + "it is cut off"),
        (b"\1" + body("GenerateRequest", text="p")[1:], None),
        (body("GenerateRequest", text="p")[:-1], None),
        (frame(b"\x0b"), INVALID + "wire type 3 is not supported"),
        (frame(b"\x1a\x01\xff"), None),
        (frame(b"\x12\x03\x12\x01\x80"), INVALID + "a number is cut off"),
        (body("GenerateRequest", request_id="r"), "not supported request inputType"),
    ],
)
def test_what_is_no_generate_request_is_refused(text: bytes, message: str | None) -> None:
    refusal = outcome(generate, text)
    assert isinstance(refusal, tuple)
    assert refusal[0] == message or (message is None and refusal[0].startswith(INVALID))


def test_a_compressed_message_is_refused_by_its_name() -> None:
    refusal = outcome(generate, b"\1\0\0\0\0")
    assert refusal == (INVALID + "compressed messages are not supported", "")


def test_media_with_too_many_fields_are_refused() -> None:
    place = b"\x2a\xd0\x0f" + b"\x08\x01" * 1000
    media = place * 300
    text = b"\x12\x03\x12\x01\x07" + b"\x3a" + encode_varint(len(media)) + media
    with pytest.raises(BadRequestError, match="more than"):
        generate(frame(text))


def test_an_embed_request_without_tokens_is_refused() -> None:
    refusal = outcome(embed, body("EmbedRequest", request_id="r"))
    assert refusal == ("missing tokenized input in EmbedRequest", "")


def test_a_method_that_is_not_known_passes() -> None:
    read = VllmgrpcParser().parse({":path": b"/x/Health"}, frame(b""))
    assert read == RequestBody(None, takes_model=False, follows_answer=False)


COUNTS = {"prompt_tokens": 3, "completion_tokens": 4, "cached_tokens": 1}


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (body("GenerateResponse", complete={"output_ids": [7], **COUNTS}), Usage(3, 4, 7, 1)),
        (body("GenerateResponse", chunk={"token_ids": [7], **COUNTS}), Usage(3, 4, 7, 1)),
        (
            body("GenerateResponse", chunk={"token_ids": [7], "prompt_tokens": 3})
            + body("GenerateResponse", chunk={"token_ids": [7], "completion_tokens": 2})
            + body("GenerateResponse", complete={"completion_tokens": 4}),
            Usage(3, 4, 7),
        ),
        (body("GenerateResponse", chunk={"token_ids": [7]}), None),
        (body("EmbedResponse", embedding=[0.5, 1e9], prompt_tokens=3), Usage(3, None, 3)),
        (body("EmbedResponse", embedding=[0.5]), None),
        (b"", None),
    ],
)
def test_the_messages_of_an_answer_tell_its_usage(answer: bytes, usage: Usage | None) -> None:
    for size in (len(answer) or 1, 3):
        reader = VllmgrpcParser().usage_reader(is_streaming=False)
        for at in range(0, len(answer), size):
            reader.feed(answer[at : at + size])
        assert reader.result() == usage


def test_the_body_is_never_rewritten() -> None:
    text = body("GenerateRequest", text="p")
    assert VllmgrpcParser().rename_model(text, "t") is text


REQUESTS = st.builds(
    lambda ids, text, stream: body(
        "GenerateRequest",
        stream=stream,
        sampling_params={"max_tokens": 9},
        mm_inputs={"mm_hashes": ["h"], "mm_placeholders": [{"offset": 1, "length": 1}]},
        tokenized={"input_ids": ids} if ids else None,
        text=text,
    ),
    st.lists(st.integers(0, 2**32 - 1), max_size=4),
    st.text(max_size=4),
    st.booleans(),
)


@given(st.binary() | st.binary().map(frame) | damaged(REQUESTS))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    outcome(generate, text)
    outcome(embed, text)


@given(st.binary().map(frame) | damaged(st.just(body("GenerateResponse", chunk=COUNTS))))
def test_no_answer_makes_the_reader_raise(answer: bytes) -> None:
    reader = VllmgrpcParser().usage_reader(is_streaming=True)
    reader.feed(answer)
    reader.result()
