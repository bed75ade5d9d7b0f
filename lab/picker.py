"""The picker as a process: ``python -m epp`` with an endpoints file, or in a cluster."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import msgspec

from lab import http
from lab.endpoints import LabEndpoint, write_endpoints
from lab.ports import free_ports
from lab.process import Process

# A HealthCheckResponse with status 1.
_SERVING = b"\x08\x01"


class PickerPorts(msgspec.Struct, frozen=True):
    """Where the picker listens: ext_proc, gRPC health, and HTTP metrics."""

    grpc: int
    health: int
    metrics: int

    @classmethod
    def free(cls) -> PickerPorts:
        """Three free ports."""
        return cls(*free_ports(3))


class Picker:
    """A running picker."""

    def __init__(self, process: Process, ports: PickerPorts, endpoints_file: Path) -> None:
        self.process = process
        self.ports = ports
        self.endpoints_file = endpoints_file

    @property
    def port(self) -> int:
        """The ext_proc port, to be given to Envoy."""
        return self.ports.grpc

    def set_endpoints(self, endpoints: Sequence[LabEndpoint]) -> None:
        """Replace the endpoints file; the picker notices by itself."""
        write_endpoints(self.endpoints_file, endpoints)

    def is_serving(self) -> bool:
        """Whether the health service says SERVING."""
        return is_serving(self.ports.health)

    def metrics(self) -> str:
        """The Prometheus page."""
        return http.get(self.ports.metrics, "/metrics")[1]

    def decisions(self) -> Any:
        """The latest decisions with their reasons, as the picker reports them."""
        return json.loads(http.get(self.ports.metrics, "/debug/decisions")[1])


@contextlib.contextmanager
def run_picker(
    directory: Path,
    endpoints: Sequence[LabEndpoint],
    *,
    config: str | None = None,
    flags: Sequence[str] = (),
    ports: PickerPorts | None = None,
    verbosity: int = 1,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Picker]:
    """Start the picker and hand it over when its health service says SERVING.

    ``config`` is the text of an EndpointPickerConfig. Later ``flags`` win. Files go to
    ``directory``; pass the ``ports`` of an earlier picker to start one in its place.

    Raises:
        ProcessError: the picker ended early or was not ready in time.
    """
    ports = ports or PickerPorts.free()
    endpoints_file = directory / f"endpoints-{ports.grpc}.yaml"
    write_endpoints(endpoints_file, endpoints)
    arguments = ["--endpoints-file", str(endpoints_file)]
    if config is not None:
        config_file = directory / f"config-{ports.grpc}.yaml"
        config_file.write_text(config)
        arguments += ["--config-file", str(config_file)]
    arguments += ["--v", str(verbosity), "--drain-delay", "0s", *flags]
    with start_picker(directory, arguments, ports=ports, environment=environment) as process:
        process.wait_ready(lambda: is_serving(ports.health))
        yield Picker(process, ports, endpoints_file)


def start_picker(
    directory: Path,
    arguments: Sequence[str],
    *,
    ports: PickerPorts,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start the picker with these arguments on these ports; it is not ready yet."""
    command: list[str | Path] = [sys.executable, "-m", "epp", *arguments]
    command += ["--grpc-port", str(ports.grpc), "--grpc-health-port", str(ports.health)]
    command += ["--metrics-port", str(ports.metrics)]
    log = directory / f"picker-{ports.grpc}.log"
    return Process("picker", command, log=log, environment=environment)


def is_serving(health_port: int) -> bool:
    """Ask the plaintext gRPC health service; no answer is a no.

    Asked for are the server as a whole and the service ``inference-extension``: one of them must
    serve, for some pickers answer only to one of them.
    """
    return check_health(health_port, "") or check_health(health_port, "inference-extension")


def check_health(port: int, service: str) -> bool:
    """Whether a plaintext gRPC health service says that this one serves, as a kubelet asks it."""
    name = service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/grpc.health.v1.Health/Check"
        )
        with contextlib.suppress(grpc.RpcError):
            return check(request, timeout=1.0) == _SERVING
    return False
