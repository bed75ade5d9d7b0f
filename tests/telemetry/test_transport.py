from __future__ import annotations

from prometheus_client import CollectorRegistry

from epp.telemetry.exposition import chunks
from epp.telemetry.transport import TransportCollector


def test_the_page_has_the_numbers_of_the_moment() -> None:
    errors: dict[str, int] = {}
    registry = CollectorRegistry()
    registry.register(TransportCollector(lambda: 2, lambda: 30, lambda: errors))
    before = "".join(chunks(registry))
    errors["ENHANCE_YOUR_CALM"] = 1
    page = "".join(chunks(registry))
    assert "epp_grpc_connections 2\n" in page
    assert "epp_grpc_streams 30\n" in page
    assert "ENHANCE_YOUR_CALM" not in before
    assert 'epp_grpc_connection_errors_total{code="ENHANCE_YOUR_CALM"} 1\n' in page
