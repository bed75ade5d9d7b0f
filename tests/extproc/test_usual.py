from __future__ import annotations

import pytest

from epp.extproc import codec, usual
from epp.extproc.events import RequestBody, ResponseBody
from epp.extproc.pb import ext_proc_pb2 as pb

METADATA = pb.ProcessingRequest(metadata_context=pb.Metadata()).SerializeToString()


def piece(body: bytes, *, end: bool = False) -> bytes:
    message = pb.HttpBody(body=body, end_of_stream=end)
    return pb.ProcessingRequest(response_body=message).SerializeToString()


@pytest.mark.parametrize(
    "message",
    [
        pb.ProcessingRequest(request_headers=pb.HttpHeaders(end_of_stream=True)),
        pb.ProcessingRequest(response_headers=pb.HttpHeaders(headers=pb.HeaderMap())),
        pb.ProcessingRequest(request_body=pb.HttpBody()),
        pb.ProcessingRequest(request_body=pb.HttpBody(body=b"x", end_of_stream=True)),
        pb.ProcessingRequest(response_body=pb.HttpBody(end_of_stream=True)),
        pb.ProcessingRequest(response_body=pb.HttpBody(body=b"x" * 100_000)),
    ],
)
@pytest.mark.parametrize("rest", [b"", METADATA])
def test_headers_and_bodies_take_the_usual_way(message: pb.ProcessingRequest, rest: bytes) -> None:
    data = message.SerializeToString() + rest
    assert usual.read(data) == codec.decode_any(data)


@pytest.mark.parametrize("size", [*range(120, 135), *range(16_375, 16_395), 2_097_140, 2_097_160])
def test_the_size_settles_what_stands_in_front_of_a_body(size: int) -> None:
    for end in (False, True):
        assert usual.read(piece(bytes(size), end=end)) == ResponseBody(bytes(size), end)


def test_a_long_body_of_a_request_shares_the_bytes_of_its_message() -> None:
    data = pb.ProcessingRequest(request_body=pb.HttpBody(body=bytes(9000))).SerializeToString()
    for message in (data, bytearray(data)):
        event = usual.read(message)
        assert isinstance(event, RequestBody)
        assert isinstance(event.body, memoryview)
        assert event.body.obj is message


@pytest.mark.parametrize("size", [2, 130, 131])
@pytest.mark.parametrize("byte", [b"\x00", b"\x0a", b"\x10"])
def test_a_size_that_no_body_has_is_left_to_protobuf(size: int, byte: bytes) -> None:
    length = bytes((size,)) if size < 128 else bytes((size & 0x7F | 0x80, 1))
    assert usual.read(b"\x2a" + length + byte * size) is None
