from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.core.request import ChatMessage, Headers, RequestBody, Usage
from epp.formats.frames import frame, unframe
from epp.plugins.parsers.vertexai import VertexaiParser
from tests.formats.bodies import damaged, outcome
from tests.formats.messages import CLASSES, body, message

SERVICE = "/google.cloud.aiplatform.v1beta1.PredictionService/"
CHAT = b'{"messages":[{"role":"u","content":"c"}],"model":"m"}'
RESPONSES = b'{"input":"i","model":"m","stream":true}'


def at(method: str) -> Headers:
    return {":path": f"{SERVICE}{method}".encode()}


def request(data: bytes) -> bytes:
    return body(
        "RawPredictRequest",
        endpoint="projects/p",
        http_body={"content_type": "application/json", "data": data},
    )


def chat(text: bytes) -> RequestBody:
    return VertexaiParser().parse(at("ChatCompletions"), text)


@pytest.mark.parametrize(
    ("method", "data", "expected"),
    [
        ("ChatCompletions", CHAT, RequestBody("m", messages=(ChatMessage("u", "c"),))),
        (
            "ChatCompletions",
            CHAT.replace(b',"model":"m"', b""),
            RequestBody(None, messages=(ChatMessage("u", "c"),), takes_model=False),
        ),
        ("RawPredict", RESPONSES, RequestBody("m", text=b'[{"input":"i"}]', stream=True)),
        ("StreamRawPredict", RESPONSES, RequestBody("m", text=b'[{"input":"i"}]', stream=True)),
    ],
)
def test_the_json_in_a_message_is_read_as_the_method_says(
    method: str, data: bytes, expected: RequestBody
) -> None:
    assert VertexaiParser().parse(at(method), request(data)) == expected


@pytest.mark.parametrize(
    ("text", "error", "model"),
    [
        (b"{}", "invalid or unsupported gRPC payload: it is cut off", ""),
        (
            b"\1\0\0\0\0",
            "invalid or unsupported gRPC payload: compressed messages are not supported",
            "",
        ),
        (frame(b"\x0b"), "unmarshaling {}: wire type 3 is not supported", ""),
        (body("RawPredictRequest", endpoint="e"), "{} has no HttpBody", ""),
        (
            body("RawPredictRequest", http_body={}),
            "parsing {}: error unmarshaling request bodyMap: Input data was truncated",
            "",
        ),
        (
            request(b'{"model":"m"}'),
            "parsing {}: invalid chat completions request: must have valid messages field",
            "m",
        ),
    ],
)
def test_what_is_no_request_is_refused(text: bytes, error: str, model: str) -> None:
    assert outcome(chat, text) == (error.format("ChatCompletionsRequest"), model)


def test_a_message_with_too_many_fields_in_its_parts_is_refused() -> None:
    part = b"\x12\xd0\x0f" + b"\x08\x01" * 1000
    with pytest.raises(BadRequestError, match="more than"):
        VertexaiParser().parse({":path": b"/x.PredictionService/RawPredict"}, frame(part * 300))


def test_a_method_that_is_not_known_passes() -> None:
    read = VertexaiParser().parse(at("Explain"), b"x")
    assert read == RequestBody(None, takes_model=False, follows_answer=False)


def test_an_http_body_may_come_in_parts_of_which_the_last_data_counts() -> None:
    parts = [{"data": b"{}"}, {"data": CHAT}, {"content_type": "x"}]
    text = b"".join(message("RawPredictRequest", http_body=part) for part in parts)
    assert chat(frame(text)).model == "m"
    renamed = VertexaiParser().rename_model(frame(text), "t")
    assert chat(renamed).model == "t"
    assert unframe(renamed) == text.replace(b'"m"', b'"t"')


@given(
    st.text(st.characters(codec="utf-8")), st.text(max_size=300), st.binary().map(lambda b: b * 40)
)
def test_only_the_models_name_is_rewritten(target: str, endpoint: str, unknown: bytes) -> None:
    behind = message("TokenizedInput", original_text=unknown.hex()).replace(b"\x0a", b"\x7a", 1)
    plain = message("RawPredictRequest", endpoint=endpoint, http_body={"data": CHAT})
    renamed = VertexaiParser().rename_model(frame(plain + behind), target)
    assert chat(renamed).model == target
    read = CLASSES["RawPredictRequest"]()
    read.ParseFromString(unframe(renamed))
    assert read.endpoint == endpoint
    again = VertexaiParser().rename_model(renamed, "m")
    assert again == frame(plain + behind)


@pytest.mark.parametrize("text", [b"", frame(b""), frame(b"\x0b"), request(b"")])
def test_what_has_no_model_cannot_be_renamed(text: bytes) -> None:
    with pytest.raises(BadRequestError, match="the model cannot be renamed"):
        VertexaiParser().rename_model(text, "t")


USAGE = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (body("HttpBody", data=USAGE), Usage(3, 4, 7)),
        (body("HttpBody", data=b"data: {}\n\n") + body("HttpBody", data=USAGE), Usage(3, 4, 7)),
        (body("HttpBody", data=b"data: " + USAGE + b"\n\n"), Usage(3, 4, 7)),
        (body("HttpBody", content_type="x"), None),
        (body("HttpBody", data=b"[]"), None),
        (frame(b"\x0b"), None),
        (b"", None),
    ],
)
def test_usage_is_in_the_json_of_the_answer(answer: bytes, usage: Usage | None) -> None:
    reader = VertexaiParser().usage_reader(is_streaming=False)
    reader.feed(answer)
    assert reader.result() == usage


@given(st.binary() | st.binary().map(frame) | damaged(st.sampled_from([CHAT, b"{}"]).map(request)))
def test_any_bytes_are_read_or_refused_and_what_was_read_can_be_renamed(text: bytes) -> None:
    read = outcome(chat, text)
    if isinstance(read, RequestBody):
        assert chat(VertexaiParser().rename_model(text, "t")).model == "t"
