from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from lab.picker import is_serving
from lab.ports import free_port

pytestmark = pytest.mark.system


def test_nobody_there_is_not_serving() -> None:
    assert not is_serving(free_port())


@pytest.mark.parametrize("serving", [True, False])
def test_the_health_service_is_believed(serving: bool) -> None:
    port = free_port()
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    status = health_pb2.HealthCheckResponse
    servicer.set("", status.SERVING if serving else status.NOT_SERVING)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        assert is_serving(port) is serving
    finally:
        server.stop(None).wait()
