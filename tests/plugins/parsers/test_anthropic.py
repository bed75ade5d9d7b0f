from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.request import ChatMessage, ContentBlock, Headers, RequestBody, Usage
from epp.plugins.parsers.anthropic import AnthropicParser
from tests.formats.bodies import HOSTILE, bodies, damaged, outcome

HEADERS: Headers = {":path": b"/v1/messages?beta=true"}
U = ChatMessage("user", "c")
MESSAGES = b'"messages":[{"role":"user","content":"c"}]'


def parse(body: bytes) -> RequestBody:
    return AnthropicParser().parse(HEADERS, body)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (b'"model":"m"', RequestBody("m", messages=(U,))),
        (b'"model":7', RequestBody(None, messages=(U,))),
        (b'"stream":true', RequestBody(None, messages=(U,), stream=True)),
        (b'"max_tokens":9', RequestBody(None, messages=(U,), max_tokens=9)),
        (b'"max_tokens":"9"', RequestBody(None, messages=(U,))),
        (b'"cache_salt":"s"', RequestBody(None, messages=(U,), cache_salt="s")),
        (b'"tools":[{"name": "n"}]', RequestBody(None, messages=(U,), tools=b'[{"name": "n"}]')),
        (b'"system":"be brief"', RequestBody(None, messages=(ChatMessage("", "be brief"), U))),
        (b'"system":""', RequestBody(None, messages=(U,))),
        (
            b'"system":[{"type":"text","text":"be","cache_control":{}},{"type":"text","text":"b"}]',
            RequestBody(
                None,
                messages=(
                    ChatMessage("", (ContentBlock("text", "be"), ContentBlock("text", "b"))),
                    U,
                ),
            ),
        ),
    ],
)
def test_messages_come_after_the_systems_text(members: bytes, expected: RequestBody) -> None:
    assert parse(b"{%b,%b}" % (MESSAGES, members)) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b'{"type":"text","text":"t"}', [ContentBlock("text", "t")]),
        (b'{"type":"text","text":null}', [ContentBlock("text")]),
        (
            b'{"type":"thinking","thinking":"t","signature":"s"}',
            [ContentBlock("thinking", "t")],
        ),
        (
            b'{"type":"tool_use","id":"i","name":"n","input":{"a": 1.0}}',
            [ContentBlock("tool_use", 'in{"a": 1.0}')],
        ),
        (b'{"type":"tool_use","id":"i","name":"n"}', [ContentBlock("tool_use", "in")]),
        (
            b'{"type":"tool_result","tool_use_id":"i","content":"t"}',
            [ContentBlock("tool_result", "t")],
        ),
        (
            b'{"type":"tool_result","content":[{"type":"text","text":"t"},{"type":"image","source":'
            b'{"type":"base64","media_type":"image/png","data":"AA=="}},{"type":"text","text":"u"}]'
            b"}",
            [
                ContentBlock("tool_result", "tu"),
                ContentBlock("image", "", "data:image/png;base64,AA=="),
            ],
        ),
        (b'{"type":"web_search_tool_result","content":{"error_code":"x"}}', None),
        (
            b'{"type":"image","source":{"type":"url","url":"http://i"}}',
            [ContentBlock("image", "", "http://i")],
        ),
        (
            b'{"type":"document","source":{"type":"base64","media_type":"x","data":"AA=="}}',
            [ContentBlock("document", "", "", "AA==")],
        ),
        (b'{"type":"image","source":7}', [ContentBlock("image")]),
    ],
)
def test_a_block_is_what_the_model_reads_of_it(
    block: bytes, expected: list[ContentBlock] | None
) -> None:
    (message,) = parse(b'{"messages":[{"role":"user","content":[%b]}]}' % block).messages or ()
    blocks = expected or [ContentBlock("web_search_tool_result")]
    assert message == ChatMessage("user", tuple(blocks))


@pytest.mark.parametrize(
    ("body", "message", "model"),
    [
        (b'{"model":"m"}', "invalid messages request: must have at least one message", "m"),
        (b'{"messages":[]}', "invalid messages request: must have at least one message", ""),
        (b"[]", "error unmarshaling request body: Expected `object`, got `array`", ""),
        (
            b'{"model":"m","messages":"x"}',
            "error parsing messages request: Expected `array | null`, got `str` - at `$.messages`",
            "m",
        ),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, message: str, model: str) -> None:
    assert outcome(parse, body) == (message, model)


def test_another_path_is_refused() -> None:
    read = outcome(lambda body: AnthropicParser().parse({":path": b"/v1/messages/"}, body), b"{}")
    assert read == ("unsupported API endpoint: /v1/messages/", "")


@given(st.binary())
def test_a_request_to_count_tokens_is_not_read(body: bytes) -> None:
    read = AnthropicParser().parse({":path": b"/v1/messages/count_tokens?x"}, body)
    assert read == RequestBody(None, takes_model=False, follows_answer=False)


def test_only_the_models_name_is_rewritten() -> None:
    renamed = AnthropicParser().rename_model(b'{ "max_tokens":1.0, "model":"m"}', "t")
    assert renamed == b'{ "max_tokens":1.0, "model":"t"}'


START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3,'
    b'"cache_read_input_tokens":2,"output_tokens":1}}}\n\n'
)
DELTA = b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{%b}}\n\n'


@pytest.mark.parametrize(
    ("is_streaming", "answer", "usage"),
    [
        (
            False,
            b'{"usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":2}}',
            Usage(3, 4, 7, 2),
        ),
        (False, b'{"usage":{"input_tokens":-3,"output_tokens":"4"}}', Usage(None, 4, 4)),
        (False, b'{"input_tokens":3}', None),
        (True, START, Usage(3, 1, 4, 2)),
        (True, START + DELTA % b'"output_tokens":4', Usage(3, 4, 7, 2)),
        (True, START + DELTA % b'"input_tokens":0,"output_tokens":4', Usage(3, 4, 7, 2)),
        (True, START + DELTA % b"" + b'data: {"type":"message_stop"}\n\n', Usage(3, 1, 4, 2)),
        (True, b'data: {"message":7,"usage":{}}\n\n', None),
    ],
)
def test_usage_is_told_at_the_start_and_at_the_end(
    is_streaming: bool, answer: bytes, usage: Usage | None
) -> None:
    reader = AnthropicParser().usage_reader(is_streaming)
    for at in range(0, len(answer), 50):
        reader.feed(answer[at : at + 50])
    assert reader.result() == usage


@given(
    st.binary()
    | damaged(
        bodies(
            ("model", "messages", "system", "tools", "stream", "cache_salt", "max_tokens"),
            ("role", "content", "type", "text", "source", "data", "url", "input", "thinking", "id"),
            messages=st.just([{"role": "user", "content": [{"type": "image", "source": {}}]}]),
        )
    )
)
def test_any_bytes_are_read_or_refused_and_what_was_read_can_be_renamed(body: bytes) -> None:
    read = outcome(parse, body)
    if isinstance(read, RequestBody):
        renamed = parse(AnthropicParser().rename_model(body, "t"))
        assert (renamed.model, renamed.messages, renamed.tools) == ("t", read.messages, read.tools)


@given(st.binary(), st.booleans())
def test_no_answer_makes_the_reader_raise(answer: bytes, is_streaming: bool) -> None:
    reader = AnthropicParser().usage_reader(is_streaming)
    reader.feed(b'data: {"usage":{' + answer)
    reader.result()


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_depth_and_huge_numbers_are_survived(body: bytes) -> None:
    outcome(parse, body)
