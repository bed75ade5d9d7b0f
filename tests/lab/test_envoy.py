from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from lab import http
from lab.endpoints import LabEndpoint, consecutive
from lab.envoy import (
    FAIL_OPEN_HOST,
    BodyMode,
    Bootstrap,
    envoy_binary,
    render_bootstrap,
    run_envoy,
)
from lab.ports import free_port
from lab.process import ProcessError


def render(**options: Any) -> Bootstrap:
    settings: dict[str, Any] = {
        "port": 11,
        "admin_port": 12,
        "pickers": Path(__file__),
        "endpoints": [LabEndpoint("a", "127.0.0.2", 8001), LabEndpoint("b", "127.0.0.3", 8002)],
    }
    return render_bootstrap(**{**settings, **options})


def clusters(bootstrap: Bootstrap) -> dict[str, Any]:
    return {cluster["name"]: cluster for cluster in bootstrap["static_resources"]["clusters"]}


def sockets(node: Any) -> Iterator[tuple[str, int]]:
    if isinstance(node, dict):
        if "socket_address" in node:
            yield node["socket_address"]["address"], node["socket_address"]["port_value"]
        for value in node.values():
            yield from sockets(value)
    elif isinstance(node, list):
        for value in node:
            yield from sockets(value)


def test_every_address_of_the_template_is_replaced() -> None:
    assert sorted(sockets(render())) == [
        ("127.0.0.1", 11),
        ("127.0.0.1", 12),
        ("127.0.0.2", 8001),
        ("127.0.0.3", 8002),
    ]


def test_the_pickers_are_those_of_a_file() -> None:
    eds = clusters(render())["epp"]["eds_cluster_config"]["eds_config"]
    assert eds["path_config_source"]["path"] == __file__


def test_tls_towards_the_picker_is_an_option() -> None:
    assert "transport_socket" in clusters(render())["epp"]
    assert "transport_socket" not in clusters(render(picker_tls=False))["epp"]


def test_http2_towards_the_pool_is_an_option() -> None:
    assert "typed_extension_protocol_options" not in clusters(render())["pool"]
    assert "typed_extension_protocol_options" in clusters(render(upstream_http2=True))["pool"]


@pytest.mark.parametrize("mode", BodyMode)
def test_the_body_mode_applies_to_every_route_and_direction(mode: BodyMode) -> None:
    text = json.dumps(render(body_mode=mode))
    assert text.count(f'_body_mode": "{mode}"') == text.count("_body_mode") == 4


@pytest.mark.system
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"picker_tls": False, "upstream_http2": True},
        {"body_mode": BodyMode.BUFFERED},
        {"endpoints": consecutive(8001, 100)},
    ],
    ids=["plain", "other transports", "buffered", "many endpoints"],
)
def test_envoy_accepts_the_bootstrap(options: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(render(**options)))
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.system
def test_envoy_starts_routes_and_reports(tmp_path: Path) -> None:
    # Nobody listens where the picker and the endpoints should be.
    with run_envoy(
        tmp_path, picker_port=free_port(), endpoints=consecutive(free_port(), 1)
    ) as envoy:
        assert status(envoy.port, "example.test") == 500
        assert status(envoy.port, FAIL_OPEN_HOST) == 503
        assert envoy.stat("streams_started") == 2
    assert not envoy.process.running
    with pytest.raises(OSError, match="refused"):
        http.get(envoy.port, "/")


@pytest.mark.system
def test_a_refused_configuration_shows_in_the_error(tmp_path: Path) -> None:
    endpoints = [LabEndpoint("a", "not-an-address", 8001)]
    with (
        pytest.raises(ProcessError, match=r"(?s)ended early.*not-an-address"),
        run_envoy(tmp_path, picker_port=free_port(), endpoints=endpoints),
    ):
        pass


def status(port: int, host: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/models", headers={"host": host})
        return connection.getresponse().status
    finally:
        connection.close()
