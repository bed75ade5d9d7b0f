"""``session-affinity-scorer``: send a session's requests where its first one went."""

from __future__ import annotations

from collections.abc import Sequence

from epp.affinity.session import SessionAffinity, SessionAffinityParams
from epp.core.endpoint import Endpoint
from epp.core.plugin import Scorer, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("session-affinity-scorer", params=SessionAffinityParams, stability=Stability.ALPHA)
class SessionAffinityScorer(SessionAffinity, Scorer):
    """Prefer the endpoint that the session is bound to: 1.0, all others 0.0.

    Source: llm-d-router v0.10, scheduling/scorer/sessionaffinity.
    """

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        bound = self.bound(request, endpoints)
        if bound is None:
            return [0.0] * len(endpoints)
        return [1.0 if e is bound else 0.0 for e in endpoints]
