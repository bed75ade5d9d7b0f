from __future__ import annotations

from epp.extproc.fields import (
    MAX_REMEMBERED_BYTES,
    NO_SURROUNDINGS,
    read_rest,
    request_headers,
    response_headers,
)
from epp.extproc.pb import ext_proc_pb2 as pb


def test_of_an_answer_only_the_headers_that_matter_are_read() -> None:
    names = ["date", ":status", "Content-Type", "status"]
    headers = pb.HeaderMap(headers=[pb.HeaderValue(key=name, raw_value=b"v") for name in names])
    assert list(request_headers(headers)) == ["date", ":status", "content-type", "status"]
    assert list(response_headers(headers)) == [":status", "content-type", "status"]


def test_what_may_change_the_first_field_is_no_rest() -> None:
    body = pb.ProcessingRequest(response_body=pb.HttpBody(body=b"x"))
    assert read_rest(body.SerializeToString()) is None
    assert read_rest(b"") == NO_SURROUNDINGS


def test_a_long_rest_is_not_remembered() -> None:
    message = pb.ProcessingRequest()
    message.attributes["a"].fields["b"].string_value = "x" * MAX_REMEMBERED_BYTES
    assert read_rest(message.SerializeToString()) is None
