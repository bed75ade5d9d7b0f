"""What the gRPC port carries: connections, streams, and connections that had to be given up.

Differs: no upstream picker has these metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.registry import Collector


class TransportCollector(Collector):
    """Asks for the numbers when the page is made, so that they cost the streams nothing.

    ``errors`` are counts since the start, by the name of the HTTP/2 error code.
    """

    def __init__(
        self,
        connections: Callable[[], int],
        streams: Callable[[], int],
        errors: Callable[[], Mapping[str, int]],
    ) -> None:
        self._connections = connections
        self._streams = streams
        self._errors = errors

    def describe(self) -> Iterable[Metric]:
        return [self._connections_metric(), self._streams_metric(), self._errors_metric()]

    def collect(self) -> Iterable[Metric]:
        connections, streams = self._connections_metric(), self._streams_metric()
        connections.add_sample(connections.name, {}, self._connections())
        streams.add_sample(streams.name, {}, self._streams())
        errors = self._errors_metric()
        for code, count in sorted(self._errors().items()):
            errors.add_sample(f"{errors.name}_total", {"code": code}, count)
        return [connections, streams, errors]

    @staticmethod
    def _connections_metric() -> Metric:
        return Metric("epp_grpc_connections", "Open connections of the ext_proc port.", "gauge")

    @staticmethod
    def _streams_metric() -> Metric:
        return Metric("epp_grpc_streams", "Running calls of the ext_proc port.", "gauge")

    @staticmethod
    def _errors_metric() -> Metric:
        return Metric(
            "epp_grpc_connection_errors",
            "Connections of the ext_proc port that were ended because of what the peer did.",
            "counter",
        )
