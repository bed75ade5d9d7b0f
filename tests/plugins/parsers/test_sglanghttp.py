from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.core.request import Headers, RequestBody, Usage
from epp.plugins.parsers.sglanghttp import SglanghttpParser
from tests.formats.bodies import HOSTILE, bodies, damaged, outcome

HEADERS: Headers = {":path": b"/generate"}
IDS = (struct.pack("<2I", 1, 2),)


def parse(body: bytes) -> RequestBody:
    return SglanghttpParser().parse(HEADERS, body)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (b'"text":"x"', RequestBody(None, prompts=IDS, takes_model=False)),
        (b'"model":"m"', RequestBody(None, prompts=IDS, takes_model=False)),
        (b'"stream":true', RequestBody(None, prompts=IDS, stream=True, takes_model=False)),
        (b'"extra_key":"s"', RequestBody(None, prompts=IDS, cache_salt="s", takes_model=False)),
        (b'"extra_key":null', RequestBody(None, prompts=IDS, takes_model=False)),
        (
            b'"sampling_params":{"max_new_tokens":9}',
            RequestBody(None, prompts=IDS, max_tokens=9, takes_model=False),
        ),
        (b'"sampling_params":[{}]', RequestBody(None, prompts=IDS, takes_model=False)),
    ],
)
def test_a_request_is_token_ids_and_needs_no_model(members: bytes, expected: RequestBody) -> None:
    assert parse(b'{"input_ids":[1,2],%b}' % members) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"text":"x"}', "invalid generate request: input_ids must be provided"),
        (b'{"input_ids":[]}', "invalid generate request: input_ids cannot be empty"),
        *[
            (
                b'{"input_ids":%b}' % value,
                "invalid generate request: input_ids must be an array of uint32 integers",
            )
            for value in (b"7", b'"x"', b"[[1]]", b"[-1]", b"[4294967296]", b"[1.5]")
        ],
        (
            b'{"input_ids":[1],"extra_key":7}',
            "unsupported generate request: extra_key must be a string",
        ),
        (b"7", "error unmarshaling request body: Expected `object`, got `int`"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, message: str) -> None:
    assert outcome(parse, body) == (message, "")


@pytest.mark.parametrize(
    ("path", "is_served"),
    [
        (b"/generate", True),
        (b"generate", True),
        (b"/generate/?x=y", True),
        (b"/v1/generate", False),
        (b"/xgenerate", False),
    ],
)
def test_only_the_one_path_is_served(path: bytes, is_served: bool) -> None:
    parser = SglanghttpParser()
    if is_served:
        assert parser.parse({":path": path}, b'{"input_ids":[1]}').prompts
        return
    with pytest.raises(BadRequestError, match="unsupported path: "):
        parser.parse({":path": path}, b'{"input_ids":[1]}')


@pytest.mark.parametrize(
    ("is_streaming", "answer", "usage"),
    [
        (
            False,
            b'{"text":"x","meta_info":{"prompt_tokens":3,"completion_tokens":4,"cached_tokens":1,'
            b'"finish_reason":{"type":"stop"}}}',
            Usage(3, 4, 7, 1),
        ),
        (False, b'{"meta_info":{}}', Usage()),
        (False, b'{"meta_info":7}', None),
        (False, b'[{"meta_info":{"prompt_tokens":3}}]', None),
        (
            True,
            b'data: {"meta_info":{"prompt_tokens":3,"completion_tokens":1,"finish_reason":null}}\n'
            b'\ndata: {"meta_info":{"prompt_tokens":3,"completion_tokens":4,"finish_reason":'
            b'{"type":"length"}}}\n\ndata: [DONE]\n\n',
            Usage(3, 4, 7),
        ),
        (
            True,
            b'data: {"meta_info":{"prompt_tokens":3,"finish_reason": null}}\n\n',
            None,
        ),
    ],
)
def test_usage_is_in_the_answers_meta_info(
    is_streaming: bool, answer: bytes, usage: Usage | None
) -> None:
    reader = SglanghttpParser().usage_reader(is_streaming)
    reader.feed(answer)
    assert reader.result() == usage


def test_the_body_is_never_rewritten() -> None:
    body = b'{"model":"m"}'
    assert SglanghttpParser().rename_model(body, "t") is body


@given(
    st.binary()
    | damaged(
        bodies(
            ("input_ids", "stream", "extra_key", "sampling_params"),
            ("max_new_tokens",),
            input_ids=st.lists(st.integers(0, 2**32), max_size=3),
        )
    )
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    read = outcome(parse, body)
    assert isinstance(read, tuple) or len(read.prompts[0]) >= 4


@given(st.binary(), st.booleans())
def test_no_answer_makes_the_reader_raise(answer: bytes, is_streaming: bool) -> None:
    reader = SglanghttpParser().usage_reader(is_streaming)
    reader.feed(b'data: {"finish_reason":1,"meta_info":{' + answer)
    reader.result()


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_depth_and_huge_numbers_are_survived(body: bytes) -> None:
    outcome(parse, body)
