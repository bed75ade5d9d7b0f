"""Sessions that stay with an endpoint: what the filter and the scorer of that name share.

``encoded_endpoint_header`` keeps no state: the answer carries the endpoint's id in a header, which
the client sends back. With ``session_id`` the client names its session, and the plugin remembers
where it went. Either way a session without an endpoint among the candidates has no preference.

Source: llm-d-router v0.10, scheduling/util/sessionaffinity.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta

from epp.affinity.bindings import Bindings
from epp.core.data import AGENT_IDENTITY, SESSION_ID, DataKey
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, PreRequest, ResponseHeaderProcessor
from epp.core.request import InferenceRequest, header_text
from epp.core.response import ResponseStart

TOKEN_HEADER = "x-session-token"
SESSION_HEADER = "x-session-id"
LONGEST_TOKEN = 1024

ATTRIBUTES: Mapping[str, DataKey[str]] = {
    "agent-identity": AGENT_IDENTITY,
    "session-id": SESSION_ID,
    "SessionIDDataKey": SESSION_ID,
}
"""What a session can be told by, in our spelling and in the router's."""


class Strategy(StrEnum):
    """Who remembers where a session belongs."""

    ENCODED_ENDPOINT_HEADER = "encoded_endpoint_header"
    SESSION_ID = "session_id"


class EncodedEndpointHeaderConfig(Params, frozen=True):
    """For ``encoded_endpoint_header``: the header of requests and answers."""

    header: str = TOKEN_HEADER


class SessionIdSource(Params, frozen=True):
    """Where an id may be: in a header, or in an attribute and who makes it."""

    header: str = ""
    attribute: str = ""
    producer: str = ""

    def problem(self) -> str | None:
        """What is wrong with it, if anything."""
        if bool(self.header.strip()) == bool(self.attribute):
            return "expected exactly one of header and attribute"
        if self.attribute and self.attribute.partition("/")[0] not in ATTRIBUTES:
            return f"expected {', '.join(ATTRIBUTES)} for the attribute"
        return None

    @property
    def key(self) -> DataKey[str]:
        """The attribute's."""
        name, _, producer = self.attribute.partition("/")
        return ATTRIBUTES[name].of(self.producer or producer)


class SessionIdConfig(Params, frozen=True):
    """For ``session_id``: where the id is, the first that is not empty; and for how long."""

    sources: tuple[SessionIdSource, ...] = ()
    eviction_ttl_seconds: Annotated[float, Meta(gt=0)] = 300.0
    eviction_sweep_seconds: Annotated[float, Meta(gt=0)] = 10.0


class SessionAffinityParams(Params, frozen=True):
    """How sessions are told, and which of a request's endpoints they are bound to."""

    strategy: Annotated[Strategy, Meta(description="Who remembers.")] = (
        Strategy.ENCODED_ENDPOINT_HEADER
    )
    profile_name: Annotated[
        str, Meta(description="The profile whose endpoint counts: by default the primary one.")
    ] = ""
    encoded_endpoint_header_config: Annotated[
        EncodedEndpointHeaderConfig, Meta(description="For encoded_endpoint_header.")
    ] = EncodedEndpointHeaderConfig()
    session_id_config: Annotated[SessionIdConfig, Meta(description="For session_id.")] = (
        SessionIdConfig()
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        for i, source in enumerate(self.session_id_config.sources):
            if problem := source.problem():
                yield f"sessionIdConfig.sources[{i}]", problem


class SessionAffinity(PreRequest, ResponseHeaderProcessor):
    """Knows the endpoint that a request's session is bound to.

    In memory a session is bound to where its first request goes; it moves only when its endpoint
    was no candidate in any profile that asked.
    """

    def __init__(self, params: SessionAffinityParams, handle: Handle) -> None:
        self._profile = params.profile_name
        self._token_header = _header(params.encoded_endpoint_header_config.header, TOKEN_HEADER)
        self._bindings: Bindings | None = None
        self._sources: list[str | DataKey[str]] = []
        self._was_candidate: DataKey[bool] = DataKey("session-affinity")
        if params.strategy is Strategy.SESSION_ID:
            config = params.session_id_config
            self._bindings = Bindings(
                handle.clock,
                ttl_seconds=config.eviction_ttl_seconds,
                sweep_seconds=config.eviction_sweep_seconds,
            )
            self._sources = [
                source.key if source.attribute else _header(source.header, SESSION_HEADER)
                for source in config.sources or (SessionIdSource(header=SESSION_HEADER),)
            ]

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return [source for source in self._sources if isinstance(source, DataKey)]

    def describe(self) -> Mapping[str, object]:
        return {} if self._bindings is None else {"sessions": len(self._bindings)}

    def bound(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """The one of ``endpoints`` that the request's session is bound to."""
        if self._bindings is None:
            wanted = _decoded(request.headers.get(self._token_header))
        else:
            session = self._session(request)
            wanted = self._bindings.get(session) if session else ""
        if not wanted:
            return None
        found = next((endpoint for endpoint in endpoints if endpoint.id == wanted), None)
        if self._bindings is not None:
            was_candidate = request.data.get(self._was_candidate)
            request.data.set(self._was_candidate, found is not None or was_candidate is True)
        return found

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        if self._bindings is None or not (session := self._session(request)):
            return
        picked = self._picked(result)
        if not picked:
            return
        endpoint_id, known = picked[0].id, self._bindings.get(session)
        # Nothing noted: nobody asked, or the session was bound in the meantime.
        has_gone = request.data.get(self._was_candidate) is False
        if not known or known == endpoint_id or has_gone:
            self._bindings.bind(session, endpoint_id)

    def response_headers(
        self, request: InferenceRequest, result: SchedulingResult, response: ResponseStart
    ) -> Iterable[tuple[str, bytes]]:
        picked = self._picked(result)
        if self._bindings is not None or not picked:
            return ()
        served = next((e for e in picked if e.destination == response.served), picked[0])
        return ((self._token_header, b64encode(served.id.encode())),)

    def _picked(self, result: SchedulingResult) -> Sequence[Endpoint]:
        run = result.profiles.get(self._profile or result.primary)
        return run.picked if run else ()

    def _session(self, request: InferenceRequest) -> str:
        for source in self._sources:
            if isinstance(source, DataKey):
                found = request.data.get(source) or ""
            else:
                found = header_text(request.headers, source)
            if found := found.strip():
                return found
        return ""


def _header(name: str, default: str) -> str:
    return name.strip().lower() or default


def _decoded(token: bytes | None) -> str:
    """The endpoint's id in a token; empty where it is none, as clients may send anything."""
    if not token or len(token) > LONGEST_TOKEN:
        return ""
    try:
        return b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
