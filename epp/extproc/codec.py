"""Between the bytes of a gRPC message and the events of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from epp.core.decision import Decision
from epp.core.request import Headers
from epp.extproc.events import (
    Answer,
    BodyAnswer,
    Direction,
    Event,
    HeadersAnswer,
    ImmediateAnswer,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    RoutedHeaders,
    TrailersAnswer,
    Unknown,
)
from epp.extproc.pb.ext_proc_pb2 import (
    CommonResponse,
    HeaderMap,
    HeaderMutation,
    HeadersResponse,
    HeaderValue,
    HeaderValueOption,
    HttpStatus,
    ImmediateResponse,
    Metadata,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)

LB_NAMESPACE = "envoy.lb"
SUBSET_NAMESPACE = "envoy.lb.subset_hint"
DESTINATION_KEY = "x-gateway-destination-endpoint"
SERVED_KEY = "x-gateway-destination-endpoint-served"
SUBSET_KEY = "x-gateway-destination-endpoint-subset"


class UnreadableMessageError(Exception):
    """The proxy sent bytes that are no ProcessingRequest."""


def decode(data: bytes | bytearray) -> Event:
    """One ``ProcessingRequest`` as an event.

    Raises:
        UnreadableMessageError: the bytes are no such message.
    """
    try:
        message = ProcessingRequest.FromString(bytes(data))
    except DecodeError as error:
        raise UnreadableMessageError(str(error)) from None
    match message.WhichOneof("request"):
        case "response_body":
            piece = message.response_body
            return ResponseBody(piece.body, piece.end_of_stream)
        case "request_body":
            piece = message.request_body
            subset = _subset(message) if piece.end_of_stream else None
            return RequestBody(piece.body, piece.end_of_stream, subset)
        case "request_headers":
            return RequestHeaders(
                headers=_headers(message.request_headers.headers),
                end_of_stream=message.request_headers.end_of_stream,
                subset=_subset(message),
                body_mode=(
                    message.protocol_config.request_body_mode
                    if message.HasField("protocol_config")
                    else None
                ),
            )
        case "response_headers":
            return ResponseHeaders(
                headers=_headers(message.response_headers.headers),
                end_of_stream=message.response_headers.end_of_stream,
                served=_served(message),
            )
        case "request_trailers":
            return RequestTrailers(_subset(message))
        case "response_trailers":
            return ResponseTrailers()
        case _:
            return Unknown()


def _headers(headers: HeaderMap) -> Headers:
    """Lower-case names to bytes: proxies differ in which of the two value fields they fill."""
    return {h.key.lower(): h.raw_value or h.value.encode() for h in headers.headers}


def _namespace(message: ProcessingRequest, name: str) -> Mapping[str, object] | None:
    if not message.HasField("metadata_context"):
        return None
    metadata: Metadata = message.metadata_context
    if name not in metadata.filter_metadata:
        return None
    return metadata.filter_metadata[name].fields


def _subset(message: ProcessingRequest) -> tuple[str, ...] | None:
    """The endpoints that the proxy allows, as a list or as text with commas; None means all.

    Differs: the Go pickers ignore the textual form, and one of them ends on an entry that is no
    text; such entries are skipped here.
    """
    fields = _namespace(message, SUBSET_NAMESPACE)
    if fields is None or SUBSET_KEY not in fields:
        return None
    value = message.metadata_context.filter_metadata[SUBSET_NAMESPACE].fields[SUBSET_KEY]
    match value.WhichOneof("kind"):
        case "list_value":
            entries: Iterable[str] = [
                entry.string_value
                for entry in value.list_value.values
                if entry.WhichOneof("kind") == "string_value"
            ]
        case "string_value":
            entries = value.string_value.split(",")
        case _:
            return None
    return tuple([entry.strip() for entry in entries if entry.strip()])


def _served(message: ProcessingRequest) -> str:
    fields = _namespace(message, LB_NAMESPACE)
    if fields is None or SERVED_KEY not in fields:
        return ""
    metadata: Struct = message.metadata_context.filter_metadata[LB_NAMESPACE]
    return metadata.fields[SERVED_KEY].string_value


def encode(answer: Answer) -> bytes:
    """One ``ProcessingResponse`` as bytes."""
    match answer:
        case BodyAnswer():
            return encode_body(answer.direction, answer.body, end_of_stream=answer.end_of_stream)
        case RoutedHeaders():
            return _routed(answer.decision).SerializeToString()
        case HeadersAnswer():
            return ProcessingResponse(
                response_headers=HeadersResponse(
                    response=CommonResponse(header_mutation=_mutation(answer.set_headers))
                )
            ).SerializeToString()
        case TrailersAnswer(direction=Direction.REQUEST):
            return ProcessingResponse(request_trailers=TrailersResponse()).SerializeToString()
        case TrailersAnswer():
            return ProcessingResponse(response_trailers=TrailersResponse()).SerializeToString()
        case ImmediateAnswer():
            return ProcessingResponse(
                immediate_response=ImmediateResponse(
                    status=HttpStatus(code=answer.status), body=answer.body.encode()
                )
            ).SerializeToString()


def _routed(decision: Decision) -> ProcessingResponse:
    answer = ProcessingResponse(
        request_headers=HeadersResponse(
            response=CommonResponse(
                clear_route_cache=True, header_mutation=_mutation(decision.set_headers)
            )
        )
    )
    lb = answer.dynamic_metadata.fields[LB_NAMESPACE].struct_value
    lb.fields[DESTINATION_KEY].string_value = decision.destination
    return answer


def _mutation(headers: Iterable[tuple[str, bytes]]) -> HeaderMutation:
    return HeaderMutation(
        set_headers=[
            HeaderValueOption(header=HeaderValue(key=name, raw_value=value))
            for name, value in headers
        ]
    )


# Tags: field number * 8 + 2 (length-delimited), field number * 8 (varint).
_BODY = b"\x0a"  # StreamedBodyResponse.body = 1
_END_OF_STREAM = b"\x10\x01"  # StreamedBodyResponse.end_of_stream = 2
_STREAMED_RESPONSE = b"\x1a"  # BodyMutation.streamed_response = 3
_BODY_MUTATION = b"\x1a"  # CommonResponse.body_mutation = 3
_RESPONSE = b"\x0a"  # BodyResponse.response = 1
_DIRECTION = {Direction.REQUEST: b"\x1a", Direction.RESPONSE: b"\x22"}  # ProcessingResponse 3, 4


def encode_body(direction: Direction, body: bytes | memoryview, *, end_of_stream: bool) -> bytes:
    """A streamed body answer, written by hand.

    Saves building four nested messages and copying the body twice: 2.9 us instead of 7.8 us for a
    4 kB piece on a slow machine. The plain version is in the tests, and both are proven equal.
    """
    size = len(body)
    end = _END_OF_STREAM if end_of_stream else b""
    body_prefix = _BODY + _varint(size) if size else b""
    streamed = len(body_prefix) + size + len(end)
    streamed_prefix = _STREAMED_RESPONSE + _varint(streamed)
    mutation = len(streamed_prefix) + streamed
    mutation_prefix = _BODY_MUTATION + _varint(mutation)
    response = len(mutation_prefix) + mutation
    response_prefix = _RESPONSE + _varint(response)
    outer = _DIRECTION[direction] + _varint(len(response_prefix) + response)
    return b"".join(
        (outer, response_prefix, mutation_prefix, streamed_prefix, body_prefix, body, end)
    )


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
