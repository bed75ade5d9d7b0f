"""``session-id-producer``: tell sessions by a header or a cookie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import SESSION_ID, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import DataProducer, Handle, Params, Stability, plugin
from epp.core.request import Headers, InferenceRequest, header_text


class SessionIdProducerParams(Params, frozen=True):
    """Where the session's id is: one of these."""

    header_name: Annotated[str, Meta(description="The header that holds it.")] = ""
    cookie_name: Annotated[str, Meta(description="The cookie that holds it.")] = ""

    def problems(self) -> Iterable[tuple[str, str]]:
        if bool(self.header_name) == bool(self.cookie_name):
            yield "headerName", "expected exactly one of headerName and cookieName"


@plugin("session-id-producer", params=SessionIdProducerParams, stability=Stability.BETA)
class SessionIdProducer(DataProducer):
    """Make the session's id of the request; one without has none.

    Source: llm-d-router v0.10, session-id-producer.
    """

    def __init__(self, params: SessionIdProducerParams, handle: Handle) -> None:
        self._header = params.header_name.lower()
        self._cookie = params.cookie_name
        self._key = SESSION_ID.of(handle.name)

    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        found = (
            _cookie(request.headers, self._cookie)
            if self._cookie
            else header_text(request.headers, self._header)
        )
        if found:
            request.data.set(self._key, found)


def _cookie(headers: Headers, name: str) -> str:
    """The first cookie of that name, without quotes."""
    for pair in header_text(headers, "cookie").split(";"):
        key, _, value = pair.partition("=")
        if key.strip() == name:
            return value.strip().removeprefix('"').removesuffix('"')
    return ""
