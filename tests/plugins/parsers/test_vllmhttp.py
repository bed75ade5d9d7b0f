from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.data import MediaFeature
from epp.core.errors import BadRequestError
from epp.core.request import Headers, RequestBody, Usage
from epp.plugins.parsers.vllmhttp import VllmhttpParser
from tests.formats.bodies import HOSTILE, bodies, damaged, outcome

HEADERS: Headers = {":path": b"/inference/v1/generate"}
IDS = (struct.pack("<2I", 1, 2),)


def parse(body: bytes) -> RequestBody:
    return VllmhttpParser().parse(HEADERS, body)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (b'"model":"m"', RequestBody("m", prompts=IDS)),
        (b'"stream":true', RequestBody(None, prompts=IDS, stream=True)),
        (b'"model":7', RequestBody(None, prompts=IDS)),
        (b'"cache_salt":"s"', RequestBody(None, prompts=IDS, cache_salt="s")),
        (b'"cache_salt":7', RequestBody(None, prompts=IDS)),
        (b'"sampling_params":{"max_tokens":9}', RequestBody(None, prompts=IDS, max_tokens=9)),
        (b'"sampling_params":{"max_tokens":"9"}', RequestBody(None, prompts=IDS)),
        (b'"sampling_params":[9]', RequestBody(None, prompts=IDS)),
        (b'"features":7', RequestBody(None, prompts=IDS)),
        (
            b'"features":{"mm_hashes":{"image":["h"]},"mm_placeholders":{"image":'
            b'[{"offset":1,"length":2},{"offset":3,"length":4},{"offset":-1,"length":4},{}]}}',
            RequestBody(
                None,
                prompts=IDS,
                features=(MediaFeature("image", "h", 1, 2), MediaFeature("image", "", 3, 4)),
            ),
        ),
    ],
)
def test_a_request_is_token_ids_and_what_media_are_among_them(
    members: bytes, expected: RequestBody
) -> None:
    assert parse(b'{"token_ids":[1,2],%b}' % members) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "invalid generate request: must have non-empty token_ids field"),
        (b'{"token_ids":[]}', "invalid generate request: must have non-empty token_ids field"),
        (b'{"token_ids":"x"}', "invalid generate request: must have non-empty token_ids field"),
        (b'{"token_ids":[1,-7]}', "invalid generate request: token_ids[1]: invalid value -7"),
        (b"[]", "error unmarshaling request body: Expected `object`, got `array`"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, message: str) -> None:
    assert outcome(parse, body) == (message, "")


def test_another_path_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"^unsupported path: /inference/v1/generate/$"):
        VllmhttpParser().parse({":path": b"/inference/v1/generate/?x=y"}, b"{}")


def test_only_the_models_name_is_rewritten() -> None:
    renamed = VllmhttpParser().rename_model(b'{"token_ids":[ 1.0 ],"model":"m"}', "t")
    assert renamed == b'{"token_ids":[ 1.0 ],"model":"t"}'


def test_usage_is_read_as_of_the_other_apis_of_vllm() -> None:
    reader = VllmhttpParser().usage_reader(is_streaming=True)
    reader.feed(b'data: {"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\n')
    assert reader.result() == Usage(3, 4, 7)


@given(
    st.binary()
    | damaged(
        bodies(
            ("model", "token_ids", "stream", "cache_salt", "sampling_params", "features"),
            ("max_tokens", "mm_hashes", "mm_placeholders", "image", "offset", "length"),
            token_ids=st.lists(st.integers(0, 2**32), max_size=3),
        )
    )
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    read = outcome(parse, body)
    assert isinstance(read, tuple) or len(read.prompts[0]) >= 4


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_depth_and_huge_numbers_are_survived(body: bytes) -> None:
    outcome(parse, body)
