"""``destination-endpoint-served-verifier``: tell a conformance test who served its request."""

from __future__ import annotations

from collections.abc import Iterable

from epp.core.decision import SchedulingResult
from epp.core.plugin import NoParams, ResponseHeaderProcessor, Stability, plugin
from epp.core.request import InferenceRequest
from epp.core.response import ResponseStart

HEADER = "x-conformance-test-served-endpoint"


@plugin("destination-endpoint-served-verifier", params=NoParams, stability=Stability.BETA)
class DestinationEndpointServedVerifier(ResponseHeaderProcessor):
    """Set ``x-conformance-test-served-endpoint`` to the endpoint that the proxy says it used.

    Source: gateway-api-inference-extension 2aaf2a6, requestcontrol/plugins/test/responsereceived.
    """

    def response_headers(
        self, request: InferenceRequest, result: SchedulingResult, response: ResponseStart
    ) -> Iterable[tuple[str, bytes]]:
        if response.served:
            value = response.served
        elif response.has_lb_metadata:
            value = "fail: missing destination endpoint served metadata"
        else:
            value = "fail: missing envoy lb metadata"
        return [(HEADER, value.encode("utf-8", "replace"))]
