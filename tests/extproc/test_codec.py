from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.extproc import codec
from epp.extproc.events import (
    BodyAnswer,
    Direction,
    HeadersAnswer,
    ImmediateAnswer,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    TrailersAnswer,
    Unknown,
)
from epp.extproc.pb import ext_proc_pb2 as pb


def plain_body(direction: Direction, body: bytes, end_of_stream: bool) -> bytes:
    """The plain version of ``encode_body``."""
    answer = pb.BodyResponse(
        response=pb.CommonResponse(
            body_mutation=pb.BodyMutation(
                streamed_response=pb.StreamedBodyResponse(body=body, end_of_stream=end_of_stream)
            )
        )
    )
    if direction is Direction.REQUEST:
        return pb.ProcessingResponse(request_body=answer).SerializeToString()
    return pb.ProcessingResponse(response_body=answer).SerializeToString()


@given(
    direction=st.sampled_from(Direction),
    size=st.one_of(
        st.integers(0, 300), st.sampled_from([16_370, 16_383, 16_384, 62_000, 2_097_151, 2_097_152])
    ),
    end=st.booleans(),
)
def test_a_body_answer_written_by_hand_equals_the_one_protobuf_writes(
    direction: Direction, size: int, end: bool
) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    view = memoryview(body)[:size]
    assert codec.encode_body(direction, view, end_of_stream=end) == plain_body(
        direction, body[:size], end
    )


def subset_metadata(message: pb.ProcessingRequest, value: object) -> pb.ProcessingRequest:
    fields = message.metadata_context.filter_metadata["envoy.lb.subset_hint"].fields
    field = fields["x-gateway-destination-endpoint-subset"]
    if isinstance(value, list):
        field.list_value.SetInParent()
        for entry in value:
            item = field.list_value.values.add()
            if isinstance(entry, str):
                item.string_value = entry
            elif entry is None:
                item.null_value = 0  # type: ignore[assignment]
            else:
                item.number_value = entry
    elif isinstance(value, str):
        field.string_value = value
    else:
        field.bool_value = True
    return message


@pytest.mark.parametrize(
    ("value", "subset"),
    [
        (["10.0.0.1:8000", "[fd00::1]:80"], ("10.0.0.1:8000", "[fd00::1]:80")),
        ([], ()),
        ([3, None, "10.0.0.1"], ("10.0.0.1",)),
        ([3, None], ()),
        ("10.0.0.1:80, 10.0.0.2:80", ("10.0.0.1:80", "10.0.0.2:80")),
        ("", ()),
        (True, None),
    ],
)
def test_a_subset_is_read_in_every_form(value: object, subset: tuple[str, ...] | None) -> None:
    end = pb.ProcessingRequest(request_body=pb.HttpBody(body=b"x", end_of_stream=True))
    headers = pb.ProcessingRequest(request_headers=pb.HttpHeaders(end_of_stream=True))
    trailers = pb.ProcessingRequest(request_trailers=pb.HttpTrailers())
    for message in (end, headers, trailers):
        event = codec.decode(subset_metadata(message, value).SerializeToString())
        assert isinstance(event, RequestBody | RequestHeaders | RequestTrailers)
        assert event.subset == subset


def test_header_values_are_read_from_whichever_field_has_them() -> None:
    message = pb.ProcessingRequest(
        request_headers=pb.HttpHeaders(
            headers=pb.HeaderMap(
                headers=[
                    pb.HeaderValue(key="X-Raw", raw_value=b"a\xff"),
                    pb.HeaderValue(key=":path", value="/v1"),
                ]
            )
        ),
        protocol_config=pb.ProtocolConfiguration(request_body_mode=pb.FULL_DUPLEX_STREAMED),
    )
    assert codec.decode(message.SerializeToString()) == RequestHeaders(
        headers={"x-raw": b"a\xff", ":path": b"/v1"},
        end_of_stream=False,
        subset=None,
        body_mode=4,
    )


def test_the_served_endpoint_is_read_from_the_metadata() -> None:
    message = pb.ProcessingRequest(response_headers=pb.HttpHeaders(end_of_stream=True))
    lb = message.metadata_context.filter_metadata["envoy.lb"].fields
    lb["x-gateway-destination-endpoint-served"].string_value = "10.0.0.1:80"
    assert codec.decode(message.SerializeToString()) == ResponseHeaders({}, True, "10.0.0.1:80")


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (pb.ProcessingRequest(), Unknown()),
        (
            pb.ProcessingRequest(response_body=pb.HttpBody(body=b"x", end_of_stream=True)),
            ResponseBody(b"x", True),
        ),
        (pb.ProcessingRequest(response_trailers=pb.HttpTrailers()), ResponseTrailers()),
        (pb.ProcessingRequest(request_body=pb.HttpBody(body=b"x")), RequestBody(b"x", False)),
    ],
)
def test_messages_become_events(message: pb.ProcessingRequest, event: object) -> None:
    assert codec.decode(message.SerializeToString()) == event


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_unreadable(data: bytes) -> None:
    with contextlib.suppress(codec.UnreadableMessageError):
        codec.decode(data)


def test_answers_become_messages() -> None:
    headers = pb.ProcessingResponse.FromString(codec.encode(HeadersAnswer((("a", b"\xff"),))))
    (option,) = headers.response_headers.response.header_mutation.set_headers
    assert (option.header.key, option.header.value, option.header.raw_value) == ("a", "", b"\xff")
    immediate = pb.ProcessingResponse.FromString(codec.encode(ImmediateAnswer(503, "full")))
    assert immediate.immediate_response.status.code == 503
    assert immediate.immediate_response.body == b"full"
    for direction, name in (
        (Direction.REQUEST, "request_trailers"),
        (Direction.RESPONSE, "response_trailers"),
    ):
        trailers = pb.ProcessingResponse.FromString(codec.encode(TrailersAnswer(direction)))
        assert trailers.WhichOneof("response") == name
    body = pb.ProcessingResponse.FromString(
        codec.encode(BodyAnswer(Direction.RESPONSE, memoryview(b"abc"), True))
    )
    assert body.response_body.response.body_mutation.streamed_response.body == b"abc"
