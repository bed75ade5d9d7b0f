from __future__ import annotations

import msgspec
import pytest

from epp.core.data import AGENT_IDENTITY, CycleData
from epp.plugins.hooks.agent_identity import AgentIdentity, AgentIdentityParams
from tests.fakes import make_handle


def identity(headers: dict[str, bytes], *additional: str) -> str | None:
    handle = msgspec.structs.replace(make_handle(), name="mine")
    hook = AgentIdentity(AgentIdentityParams(additional), handle)
    data = CycleData()
    hook.process_headers(headers, data)
    assert data.get(AGENT_IDENTITY.of("mine")) == data.get(AGENT_IDENTITY.of())
    assert set(hook.produces) == {AGENT_IDENTITY.of("mine"), AGENT_IDENTITY.of()}
    return data.get(AGENT_IDENTITY.of())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-claude-code-session-id": b"c"}, "c"),
        ({"x-session-affinity": b"o"}, "o"),
        ({"session-id": b"d"}, "d"),
        ({"session_id": b"u"}, "u"),
        ({"session_id": b"u", "session-id": b"d"}, "d"),
        ({"session_id": b"u", "x-claude-code-session-id": b"c", "x-session-affinity": b"o"}, "c"),
        ({"x-claude-code-session-id": b"", "session_id": b"u"}, "u"),
        ({"session-id": b""}, None),
        ({"session-id": b"\xff"}, "\ufffd"),
        ({"x-session-id": b"s"}, None),
    ],
)
def test_the_first_known_header_that_says_something_counts(
    headers: dict[str, bytes], expected: str | None
) -> None:
    assert identity(headers) == expected


def test_further_headers_come_first_in_their_order() -> None:
    headers = {"session-id": b"d", "x-one": b"1", "x-two": b"2"}
    assert identity(headers, "X-Two", "X-One") == "2"
    assert identity(headers | {"x-two": b""}, "X-Two", "X-One") == "1"
    assert identity(headers, "x-none") == "d"
