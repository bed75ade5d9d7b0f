from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from lab.envoy import run_envoy
from lab.picker import is_serving, run_picker
from lab.ports import free_port
from lab.simulators import run_simulators

pytestmark = pytest.mark.system


def test_nobody_there_is_not_serving() -> None:
    assert not is_serving(free_port())


@pytest.mark.parametrize("name", ["", "inference-extension"])
@pytest.mark.parametrize("serving", [True, False])
def test_the_health_service_is_believed(serving: bool, name: str) -> None:
    port = free_port()
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    status = health_pb2.HealthCheckResponse
    servicer.set(name, status.SERVING if serving else status.NOT_SERVING)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        assert is_serving(port) is serving
    finally:
        server.stop(None).wait()


def test_a_request_goes_through_the_whole_lab(tmp_path: Path) -> None:
    with (
        run_simulators(tmp_path, replicas=2) as simulators,
        run_picker(tmp_path, simulators.endpoints) as picker,
        run_envoy(tmp_path, picker_port=picker.port, endpoints=simulators.endpoints) as envoy,
    ):
        body = json.dumps({"model": simulators.model, "prompt": "hello", "max_tokens": 3})
        connection = HTTPConnection("127.0.0.1", envoy.port, timeout=10)
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200
        assert answer["model"] == simulators.model
        assert envoy.stat("streams_started") == 1
        assert picker.is_serving()
        assert "# TYPE" in picker.metrics()
        assert picker.decisions()


def test_a_picker_can_take_the_place_of_another(tmp_path: Path) -> None:
    with run_simulators(tmp_path, replicas=1) as simulators:
        with run_picker(tmp_path, simulators.endpoints) as first:
            first.process.signal(signal.SIGKILL)
            assert first.process.wait(5) == -signal.SIGKILL
        with run_picker(tmp_path, simulators.endpoints, ports=first.ports) as second:
            assert second.is_serving()
