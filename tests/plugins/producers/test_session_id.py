from __future__ import annotations

import msgspec
import pytest

from epp.core.data import SESSION_ID
from epp.plugins.producers.session_id import SessionIdProducer, SessionIdProducerParams
from tests.fakes import make_handle, make_request


def produced(params: SessionIdProducerParams, headers: dict[str, bytes]) -> str | None:
    assert list(params.problems()) == []
    producer = SessionIdProducer(params, msgspec.structs.replace(make_handle(), name="mine"))
    assert list(producer.produces) == [SESSION_ID.of("mine")]
    request = make_request(headers=headers)
    producer.produce(request, [])
    assert request.data.get(SESSION_ID.of()) is None
    return request.data.get(SESSION_ID.of("mine"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-session": b"s1"}, "s1"),
        ({"x-session": b""}, None),
        ({"x-session": b"\xff"}, "\ufffd"),
        ({"cookie": b"X-Session=s1"}, None),
        ({}, None),
    ],
)
def test_a_header_holds_it(headers: dict[str, bytes], expected: str | None) -> None:
    assert produced(SessionIdProducerParams(header_name="X-Session"), headers) == expected


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        (b"sid=s1", "s1"),
        (b"a=b; sid=s1; c=d", "s1"),
        (b"a=b;sid=s1", "s1"),
        (b'sid="s 1"', "s 1"),
        (b"sid=a=b==", "a=b=="),
        (b"sid=first; sid=second", "first"),
        (b"SID=s1", None),
        (b"xsid=s1", None),
        (b"sid", None),
        (b"sid=", None),
        (b";;=;", None),
        (b"", None),
    ],
)
def test_or_a_cookie_does(cookies: bytes, expected: str | None) -> None:
    params = SessionIdProducerParams(cookie_name="sid")
    assert produced(params, {"cookie": cookies}) == expected


@pytest.mark.parametrize(
    "params", [SessionIdProducerParams(), SessionIdProducerParams("x-session", "sid")]
)
def test_one_place_has_to_be_named(params: SessionIdProducerParams) -> None:
    assert [key for key, _ in params.problems()] == ["headerName"]
