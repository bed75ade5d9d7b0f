"""The gRPC health service: SERVING while there is a pool and the process is not draining.

Without leader election the service name does not matter, as in the 2025 release: probes name
``inference-extension``, gateways the ExternalProcessor service, tools none.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/health.go.
"""

from __future__ import annotations

from collections.abc import Callable

from grpc_health.v1 import health_pb2 as pb

from epp.extproc.servicer import SERVICE as EXT_PROC_SERVICE
from epp.rpc import Call, Message, Services, Status

SERVICE = "grpc.health.v1.Health"


class Health:
    """Answers ``Check`` and ``List`` from one question; refuses ``Watch``, as upstream does."""

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving

    @property
    def services(self) -> Services:
        """What a transport serves."""
        return {
            f"/{SERVICE}/Check": lambda call: _Unary(call, self._check),
            f"/{SERVICE}/List": lambda call: _Unary(call, self._list),
            f"/{SERVICE}/Watch": lambda call: _Unary(call, None),
        }

    def _check(self) -> bytes:
        """The status, whatever service is asked for."""
        return bytes(self._status().SerializeToString())

    def _list(self) -> bytes:
        """The status of the one service that gateways ask for."""
        statuses = {EXT_PROC_SERVICE: self._status()}
        return bytes(pb.HealthListResponse(statuses=statuses).SerializeToString())

    def _status(self) -> pb.HealthCheckResponse:
        return pb.HealthCheckResponse(status="SERVING" if self._is_serving() else "NOT_SERVING")


class _Unary:
    """One call with one answer; without one it is not implemented."""

    def __init__(self, call: Call, answer: Callable[[], bytes] | None) -> None:
        self._call = call
        self._answer = answer

    def message(self, data: Message) -> None:
        if self._answer is None:
            self._call.finish(Status.UNIMPLEMENTED, "Watch is not implemented")
            return
        self._call.send(self._answer())
        self._call.finish()

    def half_closed(self) -> None:
        self._call.finish(Status.INTERNAL, "no request")

    def ended(self) -> None:
        """Nothing is kept."""
