"""``decode-filter``: keep the endpoints that can decode."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, NoParams, Stability, plugin
from epp.core.request import InferenceRequest
from epp.core.roles import DECODE


@plugin("decode-filter", params=NoParams, stability=Stability.BETA)
class DecodeFilter(Filter):
    """Keep the endpoints that decode, those without the role label among them.

    Source: llm-d-router v0.10, scheduling/filter/bylabel/roles.go.
    """

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        return DECODE.among(endpoints)
