"""``prefill-filter``: keep the endpoints that can prefill."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, NoParams, Stability, plugin
from epp.core.request import InferenceRequest
from epp.core.roles import PREFILL


@plugin("prefill-filter", params=NoParams, stability=Stability.BETA)
class PrefillFilter(Filter):
    """Keep the endpoints whose role label says that they prefill.

    Source: llm-d-router v0.10, scheduling/filter/bylabel/roles.go.
    """

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        return PREFILL.among(endpoints)
