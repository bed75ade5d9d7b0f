"""``header-based-testing-filter``: the client names the endpoints, for conformance tests."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint, split_host_port
from epp.core.plugin import Filter, NoParams, Stability, plugin
from epp.core.request import InferenceRequest, header_text

HEADER = "test-epp-endpoint-selection"


@plugin("header-based-testing-filter", params=NoParams, stability=Stability.BETA)
class HeaderBasedTestingFilter(Filter):
    """Keep the endpoints that the header ``test-epp-endpoint-selection`` lists, in its order.

    Entries are ``IP``, ``IP:port``, ``[v6]`` or ``[v6]:port``; unknown ones are skipped, and
    without the header nobody is left.

    Differs: two ports of one pod may both be listed; the 2025 release keeps one endpoint per IP,
    which fails its own data-parallel conformance test when both are named.

    Source: gateway-api-inference-extension 2aaf2a6, test/filter/request_header_based_filter.go.
    """

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        kept: dict[str, Endpoint] = {}
        for entry in header_text(request.headers, HEADER).split(","):
            address, port = split_host_port(entry)
            for endpoint in endpoints:
                if endpoint.address == address and port in (None, endpoint.port):
                    kept.setdefault(endpoint.id, endpoint)
                    if port is None:
                        break
        return list(kept.values())
