"""``session-affinity-filter``: keep a session's requests where its first one went."""

from __future__ import annotations

from collections.abc import Sequence

from epp.affinity.session import SessionAffinity, SessionAffinityParams
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("session-affinity-filter", params=SessionAffinityParams, stability=Stability.ALPHA)
class SessionAffinityFilter(SessionAffinity, Filter):
    """Keep only the endpoint that the session is bound to, or all if it is no candidate.

    Source: llm-d-router v0.10, scheduling/filter/sessionaffinity.
    """

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        bound = self.bound(request, endpoints)
        return endpoints if bound is None else (bound,)
