"""The gRPC health service: SERVING while there is a pool and the process is not draining.

Without leader election the service name does not matter, as in the 2025 release: probes name
``inference-extension``, gateways the ExternalProcessor service, tools none. With it, ``liveness``
tells that the process is alive, and the names that traffic follows that it is the leader, too.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/health.go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2 as pb

from epp.extproc.servicer import SERVICE as EXT_PROC_SERVICE
from epp.rpc import Call, Message, Services, Status

SERVICE = "grpc.health.v1.Health"
LIVENESS = "liveness"
READINESS = "readiness"
_MAX_LOGGED = 128
_NOT_SERVING_LEVEL = logging.INFO - 2
_SERVING_LEVEL = logging.INFO - 5

logger = logging.getLogger("health")


class Health:
    """Answers ``Check`` and ``List`` from one or two questions; refuses ``Watch``, as upstream.

    ``is_leader`` is given where there is leader election.
    """

    def __init__(
        self, is_serving: Callable[[], bool], is_leader: Callable[[], bool] | None = None
    ) -> None:
        self._is_serving = is_serving
        self._is_leader = is_leader

    @property
    def services(self) -> Services:
        """What a transport serves."""
        return {
            f"/{SERVICE}/Check": lambda call: _Unary(call, self._check),
            f"/{SERVICE}/List": lambda call: _Unary(call, self._list),
            f"/{SERVICE}/Watch": lambda call: _Unary(call, None),
        }

    def _check(self, data: Message) -> bytes:
        """The status of the service that is asked for."""
        service = pb.HealthCheckRequest.FromString(bytes(data)).service
        return bytes(self._answer(service).SerializeToString())

    def _list(self, _data: Message) -> bytes:
        """The status of the service that gateways ask for, and of those that probes do."""
        names = [EXT_PROC_SERVICE]
        if self._is_leader is not None:
            names += [LIVENESS, READINESS]
        statuses = {name: self._answer(name) for name in names}
        return bytes(pb.HealthListResponse(statuses=statuses).SerializeToString())

    def _answer(self, service: str) -> pb.HealthCheckResponse:
        status = self._status(service)
        fields = {"service": service[:_MAX_LOGGED], "status": status}
        if status == "SERVING":
            logger.log(_SERVING_LEVEL, "gRPC health check serving", extra={"fields": fields})
        else:
            logger.log(
                _NOT_SERVING_LEVEL, "gRPC health check not serving", extra={"fields": fields}
            )
        return pb.HealthCheckResponse(status=status)

    def _status(self, service: str) -> str:
        if self._is_leader is None:
            passes = self._is_serving()
        elif service == LIVENESS:
            passes = True
        elif service in ("", READINESS, EXT_PROC_SERVICE):
            passes = self._is_serving() and self._is_leader()
        else:
            return "SERVICE_UNKNOWN"
        return "SERVING" if passes else "NOT_SERVING"


class _Unary:
    """One call with one answer; without one it is not implemented."""

    def __init__(self, call: Call, answer: Callable[[Message], bytes] | None) -> None:
        self._call = call
        self._answer = answer

    def message(self, data: Message) -> None:
        if self._answer is None:
            self._call.finish(Status.UNIMPLEMENTED, "Watch is not implemented")
            return
        try:
            self._call.send(self._answer(data))
        except DecodeError:
            self._call.finish(Status.INTERNAL, "unreadable request")
            return
        self._call.finish()

    def half_closed(self) -> None:
        self._call.finish(Status.INTERNAL, "no request")

    def ended(self) -> None:
        """Nothing is kept."""
