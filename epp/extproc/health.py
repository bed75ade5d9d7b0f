"""The gRPC health service: SERVING while there is a pool and the process is not draining.

Without leader election the service name does not matter, as in the 2025 release: probes name
``inference-extension``, gateways the ExternalProcessor service, tools none.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/health.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb

from epp.extproc.servicer import SERVICE as EXT_PROC_SERVICE

SERVICE = "grpc.health.v1.Health"


class Health:
    """Answers ``Check`` and ``List`` from one question; refuses ``Watch``, as upstream does."""

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving

    def handler(self) -> grpc.GenericRpcHandler:
        """What a grpcio server registers."""
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(
                self.check,
                request_deserializer=pb.HealthCheckRequest.FromString,
                response_serializer=pb.HealthCheckResponse.SerializeToString,
            ),
            "List": grpc.unary_unary_rpc_method_handler(
                self.list,
                request_deserializer=pb.HealthListRequest.FromString,
                response_serializer=pb.HealthListResponse.SerializeToString,
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self.watch,
                request_deserializer=pb.HealthCheckRequest.FromString,
                response_serializer=pb.HealthCheckResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def check(self, _request: pb.HealthCheckRequest, _context: Any) -> pb.HealthCheckResponse:
        """The status, whatever service is asked for."""
        status = "SERVING" if self._is_serving() else "NOT_SERVING"
        return pb.HealthCheckResponse(status=status)

    async def list(self, _request: Any, context: Any) -> Any:
        """The status of the one service that gateways ask for."""
        status = await self.check(pb.HealthCheckRequest(), context)
        return pb.HealthListResponse(statuses={EXT_PROC_SERVICE: status})

    async def watch(self, _request: Any, context: Any) -> AsyncIterator[pb.HealthCheckResponse]:
        """Refused."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Watch is not implemented")
        yield pb.HealthCheckResponse()
