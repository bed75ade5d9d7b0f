import json

import pytest

from epp.simulator.answers import ChatWriter, CompletionWriter, Heading, Usage, error_body
from epp.simulator.errors import ApiError
from epp.simulator.text import FinishReason

HEADING = Heading("cmpl-1", 1763493214, "m", None)
STOP = FinishReason.STOP
START = '"id":"cmpl-1","created":1763493214,"model":"m"'


def event(data: bytes) -> str:
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    return data[6:-2].decode()


def test_a_completion_has_its_keys_in_the_original_order() -> None:
    body = CompletionWriter(HEADING).whole(["a ", "b"], STOP, Usage(1, 2, 3), None)
    assert body.decode() == (
        f'{{{START},"usage":{{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}},'
        '"object":"text_completion","kv_transfer_params":null,'
        '"choices":[{"index":0,"finish_reason":"stop","text":"a b"}]}'
    )


def test_a_chat_completion_has_a_message() -> None:
    body = json.loads(ChatWriter(HEADING).whole(["a"], STOP, Usage(1, 1, 2), None))
    assert body["object"] == "chat.completion"
    message = {"role": "assistant", "content": "a"}
    assert body["choices"] == [{"index": 0, "finish_reason": "stop", "message": message}]


def test_a_completion_stream_begins_with_a_token_and_closes_with_the_reason() -> None:
    writer = CompletionWriter(HEADING)
    assert writer.opening() == b""
    assert event(writer.token(0, "a", None)) == (
        f'{{{START},"usage":null,"object":"text_completion","kv_transfer_params":null,'
        '"choices":[{"index":0,"finish_reason":null,"text":"a"}]}'
    )
    closing = json.loads(event(writer.closing(STOP)))
    assert closing["choices"] == [{"index": 0, "finish_reason": "stop", "text": ""}]


def test_a_chat_stream_begins_with_the_role_and_closes_with_an_empty_delta() -> None:
    writer = ChatWriter(HEADING)
    deltas = [
        json.loads(event(data))["choices"][0]["delta"]
        for data in (writer.opening(), writer.token(0, "a", None), writer.closing(STOP))
    ]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "a"}, {}]


def test_usage_comes_in_a_chunk_without_choices() -> None:
    chunk = json.loads(event(ChatWriter(HEADING).usage(Usage(1, 2, 3))))
    assert (chunk["choices"], chunk["usage"]["total_tokens"]) == ([], 3)


def test_text_offsets_go_on_from_token_to_token() -> None:
    writer = CompletionWriter(Heading("cmpl-1", 1, "m", 1))
    chunks = [json.loads(event(writer.token(i, token, None))) for i, token in enumerate("ab")]
    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks] == [[0], [1]]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (404, "NotFoundError"),
        (418, "APIConnectionError"),
        (429, "RateLimitError"),
        (503, "InternalServerError"),
    ],
)
def test_an_error_body_names_its_type(status: int, kind: str) -> None:
    body = error_body(ApiError("no", status=status)).decode()
    assert body == (f'{{"error":{{"message":"no","type":"{kind}","param":null,"code":{status}}}}}')
