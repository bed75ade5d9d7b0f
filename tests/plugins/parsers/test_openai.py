from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.request import ChatMessage, Headers, RequestBody, Usage
from epp.plugins.parsers.openai import OpenAIParser
from tests.formats.bodies import bodies, damaged, outcome

EVERYTHING = (
    b'{"model":"m","prompt":"p","messages":[{"role":"u","content":"c"}],"input":"i",'
    b'"items":[{}],"cache_salt":"s"}'
)
COMPLETIONS = RequestBody("m", "p", cache_salt="s")
CHAT = RequestBody("m", messages=(ChatMessage("u", "c"),), cache_salt="s")
RESPONSES = RequestBody("m", text=b'[{"input":"i"}]', cache_salt="s")


def at(path: str) -> Headers:
    return {":path": path.encode()}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/completions", COMPLETIONS),
        ("/v1/completions/render", COMPLETIONS),
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions?x=/v1/responses", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("/v1/chat/completions/render", CHAT),
        ("/v1/responses", RESPONSES),
        ("/v1/conversations", RequestBody("m", text=b"[{}]", cache_salt="s")),
        ("/v1/embeddings", RequestBody("m", "i", cache_salt="s")),
        ("/v1/images/generations", RequestBody("m", "p")),
        ("/v1/mychat/completions", COMPLETIONS),
        ("/v1/xresponses", COMPLETIONS),
        ("", COMPLETIONS),
    ],
)
def test_the_path_tells_what_the_body_is(path: str, expected: RequestBody) -> None:
    assert OpenAIParser().parse(at(path), EVERYTHING) == expected


def test_without_a_path_it_is_completions() -> None:
    assert OpenAIParser().parse({}, EVERYTHING) == COMPLETIONS
    assert OpenAIParser().parse({"x-original-path": b"/v1/responses"}, EVERYTHING) == RESPONSES


@pytest.mark.parametrize(
    ("is_streaming", "answer", "usage"),
    [
        (False, b'{"usage":{"prompt_tokens":3,"total_tokens":3}}', Usage(3, None, 3)),
        (
            False,
            b'{"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7,'
            b'"input_tokens_details":{"cached_tokens":2}}}',
            Usage(3, 4, 7, 2),
        ),
        (
            True,
            b'event: response.created\ndata: {"type":"response.created","response":{"usage":null}}'
            b'\n\nevent: response.completed\ndata: {"type":"response.completed","response":'
            b'{"output":[],"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}\n\n',
            Usage(3, 4, 7),
        ),
        (True, b'data: {"usage":{"total_tokens":7}}\n\ndata: [DONE]\n\n', Usage(None, None, 7)),
    ],
)
def test_usage_is_read_in_every_spelling(is_streaming: bool, answer: bytes, usage: Usage) -> None:
    reader = OpenAIParser().usage_reader(is_streaming)
    reader.feed(answer)
    assert reader.result() == usage


MEMBERS = ("model", "prompt", "messages", "input", "items", "stream", "x")
BODIES = damaged(bodies(MEMBERS, ("role", "model", "a"), model=st.just("m"), prompt=st.just("p")))


@given(BODIES, st.sampled_from(OpenAIParser.paths), st.text(st.characters(codec="utf-8")))
def test_a_rewritten_model_is_all_that_changes(body: bytes, end: str, target: str) -> None:
    def parse(text: bytes) -> RequestBody:
        return OpenAIParser().parse(at(f"/v1/{end}"), text)

    read = outcome(parse, body)
    if isinstance(read, RequestBody):
        renamed = parse(OpenAIParser().rename_model(body, target))
        assert renamed.model == target
        assert renamed == RequestBody(
            target, *[getattr(read, name) for name in RequestBody.__struct_fields__[1:]]
        )


def test_no_other_byte_is_touched() -> None:
    body = b'{ "seed": 9007199254740993 , "model" : "m", "prompt":"\\u003c" }'
    assert OpenAIParser().rename_model(body, 'a"b') == body.replace(b'"m"', b'"a\\"b"')
