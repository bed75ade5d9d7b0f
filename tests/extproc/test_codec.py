from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.decision import Decision, SchedulingResult
from epp.core.response import ResponseStart
from epp.extproc import codec
from epp.extproc.events import (
    BodyAnswer,
    Direction,
    Event,
    HeadersAnswer,
    ImmediateAnswer,
    Modes,
    PassedBody,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    RoutedBody,
    RoutedHeaders,
    TrailersAnswer,
    Unknown,
)
from epp.extproc.pb import ext_proc_pb2 as pb
from tests.fakes import make_endpoint, make_request, make_run


def plain_body(direction: Direction, body: bytes, end_of_stream: bool) -> bytes:
    """The plain version of how a ``BodyAnswer`` is encoded."""
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
    answer = BodyAnswer(direction, view, end)
    assert codec.encode(answer) == plain_body(direction, body[:size], end)
    assert b"".join(codec.encode_parts(answer)) == codec.encode(answer)


def test_a_body_in_parts_is_not_copied() -> None:
    body = memoryview(bytes(62_000))
    assert any(
        part is body for part in codec.encode_parts(BodyAnswer(Direction.REQUEST, body, True))
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
        modes=Modes(4, 0),
    )


def test_the_served_endpoint_is_read_from_the_metadata() -> None:
    message = pb.ProcessingRequest(response_headers=pb.HttpHeaders(end_of_stream=True))
    lb = message.metadata_context.filter_metadata["envoy.lb"].fields
    lb["x-gateway-destination-endpoint-served"].string_value = "10.0.0.1:80"
    assert codec.decode(message.SerializeToString()) == ResponseHeaders(
        ResponseStart({}, "10.0.0.1:80", has_lb_metadata=True), True
    )


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


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.binary(max_size=12) | st.sampled_from([b"", b"200", b"v" * 127, b"v" * 300])
HEADERS = st.lists(
    st.builds(
        pb.HeaderValue,
        key=TEXTS | st.sampled_from([":status", "content-type", "X-Raw", "k" * 130]),
        value=st.just("") | TEXTS,
        raw_value=VALUES,
    ),
    max_size=4,
).map(lambda headers: pb.HeaderMap(headers=headers))
HTTP_HEADERS = st.builds(pb.HttpHeaders, headers=st.none() | HEADERS, end_of_stream=st.booleans())
BODY_SIZES = st.integers(0, 20) | st.sampled_from([123, 124, 125, 126, 127, 128, 129, 130, 5000])
HTTP_BODIES = st.builds(
    pb.HttpBody,
    body=BODY_SIZES.map(lambda size: bytes(range(256)) * 20 if size > 300 else b"\x10\x01" * size),
    end_of_stream=st.booleans(),
    end_of_stream_without_message=st.sampled_from([False, False, True]),
)


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    """One or two fields of a message, in the order and spelling of protobuf."""
    name = draw(
        st.sampled_from(
            [
                "request_headers",
                "response_headers",
                "request_body",
                "response_body",
                "response_trailers",
                "",
            ]
        )
    )
    message = pb.ProcessingRequest()
    if name.endswith("headers"):
        getattr(message, name).CopyFrom(draw(HTTP_HEADERS))
    elif name.endswith("body"):
        getattr(message, name).CopyFrom(draw(HTTP_BODIES))
    elif name:
        getattr(message, name).SetInParent()
    if draw(st.booleans()):
        subset_metadata(message, draw(st.lists(TEXTS, max_size=2) | st.just(True)))
    if draw(st.booleans()):
        message.protocol_config.request_body_mode = draw(
            st.sampled_from([pb.NONE, pb.BUFFERED, pb.FULL_DUPLEX_STREAMED])
        )
    return message.SerializeToString()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Some fields one after the other, with bytes exchanged, dropped or put in."""
    data = bytearray(b"".join(draw(st.lists(fields(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, min(len(data), 40)))
        until = draw(st.integers(at, min(at + 2, len(data))))
        data[at:until] = draw(st.binary(max_size=2) | st.sampled_from([b"\x80\x01", b"\x10\x00"]))
    return bytes(data)


def outcome(read: Callable[[bytes | bytearray], Event], data: bytes | bytearray) -> object:
    try:
        return read(data)
    except codec.UnreadableMessageError:
        return "unreadable"


@given(fields() | damaged() | st.binary(max_size=200))
def test_the_usual_way_reads_what_protobuf_reads(data: bytes) -> None:
    expected = outcome(codec.decode_any, data)
    assert outcome(codec.decode, data) == expected
    assert outcome(codec.decode, bytearray(data)) == expected


def decision() -> Decision:
    endpoint = make_endpoint("a")
    result = SchedulingResult("p", {"p": make_run(endpoint, picked=[endpoint])})
    return Decision(make_request(), result, "10.0.0.1:8000", (("a", b"1"),), b"")


def test_scores_are_metadata_beside_the_destination() -> None:
    plain = decision()
    for scores in ((("10.0.0.1:8000", 2.5), ("[fd00::1]:8000", 0.0)), (("10.0.0.1:8000", 1.0),)):
        answer = RoutedHeaders(msgspec.structs.replace(plain, scores=scores))
        message = pb.ProcessingResponse.FromString(codec.encode(answer))
        lb = message.dynamic_metadata.fields["envoy.lb"].struct_value
        told = lb.fields["x-gateway-destination-endpoint-scores"].struct_value.fields
        assert {key: value.number_value for key, value in told.items()} == dict(scores)
        del lb.fields["x-gateway-destination-endpoint-scores"]
        without = pb.ProcessingResponse.FromString(codec.encode(RoutedHeaders(plain)))
        assert message == without


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
    routed = RoutedHeaders(decision())
    for _ in range(2):
        message = pb.ProcessingResponse.FromString(codec.encode(routed))
        assert message.request_headers.response.clear_route_cache
        (option,) = message.request_headers.response.header_mutation.set_headers
        assert (option.header.key, option.header.raw_value) == ("a", b"1")
        lb = message.dynamic_metadata.fields["envoy.lb"].struct_value
        assert lb.fields["x-gateway-destination-endpoint"].string_value == "10.0.0.1:8000"
    body = pb.ProcessingResponse.FromString(
        codec.encode(BodyAnswer(Direction.RESPONSE, memoryview(b"abc"), True))
    )
    assert body.response_body.response.body_mutation.streamed_response.body == b"abc"


def test_a_buffered_request_is_routed_by_the_answer_to_its_body() -> None:
    request = make_request(model="m")
    endpoint = make_endpoint("a")
    result = SchedulingResult("p", {"p": make_run(endpoint, picked=[endpoint])})
    decision = Decision(
        request=request,
        result=result,
        destination="10.0.0.1:8000",
        set_headers=(("content-length", b"2"),),
        body=b"cd",
        remove_headers=("x-prefiller-host-port",),
    )
    for is_changed in (False, True):
        answer = pb.ProcessingResponse.FromString(codec.encode(RoutedBody(decision, is_changed)))
        common = answer.request_body.response
        assert common.clear_route_cache
        assert [h.header.key for h in common.header_mutation.set_headers] == ["content-length"]
        assert list(common.header_mutation.remove_headers) == ["x-prefiller-host-port"]
        assert common.HasField("body_mutation") == is_changed
        assert common.body_mutation.body == (b"cd" if is_changed else b"")
        lb = answer.dynamic_metadata.fields["envoy.lb"].struct_value.fields
        assert lb["x-gateway-destination-endpoint"].string_value == "10.0.0.1:8000"


@pytest.mark.parametrize("direction", Direction)
def test_what_passes_unchanged_is_answered_with_nothing_but_that(direction: Direction) -> None:
    body = pb.ProcessingResponse.FromString(codec.encode(PassedBody(direction)))
    side = "request" if direction is Direction.REQUEST else "response"
    assert body.WhichOneof("response") == f"{side}_body"
    assert not getattr(body, f"{side}_body").response.HasField("body_mutation")
    noted = pb.ProcessingResponse.FromString(codec.encode(HeadersAnswer((), direction=direction)))
    assert noted.WhichOneof("response") == f"{side}_headers"


def test_modes_are_read_from_the_first_message() -> None:
    message = pb.ProcessingRequest(request_headers=pb.HttpHeaders())
    message.protocol_config.request_body_mode = pb.BUFFERED
    message.protocol_config.response_body_mode = pb.STREAMED
    event = codec.decode(message.SerializeToString())
    assert isinstance(event, RequestHeaders)
    assert event.modes == Modes(2, 1)
    observing = pb.ProcessingRequest(request_headers=pb.HttpHeaders(), observability_mode=True)
    event = codec.decode(observing.SerializeToString())
    assert isinstance(event, RequestHeaders)
    assert event.modes.is_observing
