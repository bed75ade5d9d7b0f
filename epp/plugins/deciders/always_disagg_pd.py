"""``always-disagg-pd-decider``: every prompt is prefilled on another endpoint."""

from __future__ import annotations

from epp.core.endpoint import Endpoint
from epp.core.plugin import DisaggregationDecider, NoParams, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("always-disagg-pd-decider", params=NoParams, stability=Stability.BETA)
class AlwaysDisaggPdDecider(DisaggregationDecider):
    """Say yes.

    Source: llm-d-router v0.10, profilehandler/disagg.
    """

    def decide(self, request: InferenceRequest, endpoint: Endpoint | None) -> bool:
        return True
