"""``agent-identity``: tell agents by the session headers that they send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import AGENT_IDENTITY, CycleData, DataKey
from epp.core.plugin import Handle, HeaderProcessor, Params, Stability, plugin
from epp.core.request import Headers, header_text

SESSION_HEADERS = ("x-claude-code-session-id", "x-session-affinity", "session-id", "session_id")


class AgentIdentityParams(Params, frozen=True):
    """Where else to look."""

    additional_session_headers: Annotated[
        tuple[str, ...], Meta(description="Headers that come before the known ones.")
    ] = ()


@plugin("agent-identity", params=AgentIdentityParams, stability=Stability.ALPHA)
class AgentIdentity(HeaderProcessor):
    """Make the first session header that is not empty the agent's identity.

    A request without a fairness id gets this for one, whatever the plugin is called.

    Source: llm-d-router v0.10, agent-identity.
    """

    def __init__(self, params: AgentIdentityParams, handle: Handle) -> None:
        self._headers = (
            *[name.lower() for name in params.additional_session_headers],
            *SESSION_HEADERS,
        )
        self._keys = (AGENT_IDENTITY.of(handle.name), AGENT_IDENTITY.of())

    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return self._keys

    def process_headers(self, headers: Headers, data: CycleData) -> None:
        for name in self._headers:
            if identity := header_text(headers, name):
                for key in self._keys:
                    data.set(key, identity)
                return
