"""A real Envoy with the bootstrap a gateway programs for an inference pool."""

from __future__ import annotations

import contextlib
import enum
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import http
from lab.endpoints import LabEndpoint
from lab.ports import free_ports
from lab.process import ROOT, Process, running

TEMPLATE = Path(__file__).with_name("istio-like.yaml")
FAIL_OPEN_HOST = "failopen.test"

# A YAML document; its shape is Envoy's.
Bootstrap = dict[str, Any]

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ASSIGNMENT = "envoy.config.endpoint.v3.ClusterLoadAssignment"
_EXT_PROC = "envoy.filters.http.ext_proc"


class BodyMode(enum.StrEnum):
    """How Envoy hands bodies to the picker, both directions alike."""

    FULL_DUPLEX_STREAMED = "FULL_DUPLEX_STREAMED"
    STREAMED = "STREAMED"
    BUFFERED = "BUFFERED"
    BUFFERED_PARTIAL = "BUFFERED_PARTIAL"
    NONE = "NONE"


class Envoy:
    """A running Envoy."""

    def __init__(
        self, process: Process, *, port: int, admin_port: int, config: Path, pickers: Path
    ) -> None:
        self.process = process
        self.port = port
        self.admin_port = admin_port
        self.config = config
        self._pickers = pickers

    def set_pickers(self, ports: Sequence[int]) -> None:
        """Change the pickers to these, as a gateway does that follows a Service's endpoints."""
        _write_pickers(self._pickers, ports)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stats(self, pattern: str = "ext_proc") -> dict[str, int]:
        """Counters and gauges whose name matches the regular expression."""
        _, text = http.get(self.admin_port, f"/stats?filter={pattern}&format=json")
        found = json.loads(text)["stats"]
        return {item["name"]: item["value"] for item in found if "value" in item}

    def stat(self, ending: str) -> int:
        """Sum of the ext_proc figures with this last name (``streams_started``)."""
        return sum(value for name, value in self.stats().items() if name.endswith("." + ending))


@contextlib.contextmanager
def run_envoy(
    directory: Path,
    *,
    picker_port: int | Sequence[int],
    endpoints: Sequence[LabEndpoint],
    picker_tls: bool = True,
    upstream_http2: bool = False,
    body_mode: BodyMode = BodyMode.FULL_DUPLEX_STREAMED,
    concurrency: int = 2,
    port: int | None = None,
    log_level: str = "warning",
) -> Iterator[Envoy]:
    """Start Envoy in front of the picker and hand it over when it is ready.

    ``log_level`` is of the ext_proc filter, the rest logs warnings. Files go to ``directory``.

    Raises:
        FileNotFoundError: there is no Envoy binary.
        ProcessError: Envoy refused its configuration or was not ready in time.
    """
    free, admin_port = free_ports(2)
    port = port or free
    config = directory / f"envoy-{port}.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    pickers = directory / f"pickers-{port}.json"
    _write_pickers(pickers, [picker_port] if isinstance(picker_port, int) else picker_port)
    bootstrap = render_bootstrap(
        port=port,
        admin_port=admin_port,
        pickers=pickers,
        endpoints=endpoints,
        picker_tls=picker_tls,
        upstream_http2=upstream_http2,
        body_mode=body_mode,
    )
    config.write_text(json.dumps(bootstrap, indent=1))
    # Without hot restart no two Envoys share anything, and no shared memory stays behind.
    command: list[str | Path] = [envoy_binary(), "-c", config, "--disable-hot-restart"]
    command += ["--concurrency", str(concurrency), "-l", "warning"]
    command += ["--component-log-level", f"ext_proc:{log_level}"]
    with running(
        "envoy",
        command,
        log=directory / f"envoy-{port}.log",
        ready=lambda: http.answers(admin_port, "/ready"),
    ) as process:
        yield Envoy(process, port=port, admin_port=admin_port, config=config, pickers=pickers)


def envoy_binary() -> Path:
    """Where Envoy is: ``$ENVOY``, else ``.envoy/bin/envoy`` below the repository root.

    Raises:
        FileNotFoundError: it is not there.
    """
    binary = Path(os.environ.get("ENVOY") or ROOT / ".envoy" / "bin" / "envoy")
    if not binary.is_file():
        raise FileNotFoundError(f"no Envoy at {binary}: `make test` installs it, or set $ENVOY")
    return binary.absolute()


def render_bootstrap(
    *,
    port: int,
    admin_port: int,
    pickers: Path,
    endpoints: Sequence[LabEndpoint],
    picker_tls: bool = True,
    upstream_http2: bool = False,
    body_mode: BodyMode = BodyMode.FULL_DUPLEX_STREAMED,
) -> Bootstrap:
    """The template with these addresses and options in it; ``pickers`` lists the pickers' ports."""
    bootstrap: Bootstrap = yaml.safe_load(TEMPLATE.read_text())
    bootstrap["node"] = {"id": "lab", "cluster": "lab"}  # without it no file is followed
    bootstrap["admin"]["address"] = _address("127.0.0.1", admin_port)
    [listener] = bootstrap["static_resources"]["listeners"]
    listener["address"] = _address("127.0.0.1", port)
    _set_body_mode(listener, body_mode)

    clusters = {cluster["name"]: cluster for cluster in bootstrap["static_resources"]["clusters"]}
    pool, picker = clusters["pool"], clusters["epp"]
    _set_hosts(pool, [(endpoint.address, endpoint.port) for endpoint in endpoints])
    picker.pop("load_assignment")
    picker["type"] = "EDS"
    picker["eds_cluster_config"] = {
        "service_name": "epp",
        "eds_config": {"resource_api_version": "V3", "path_config_source": {"path": str(pickers)}},
    }
    if not picker_tls:
        del picker["transport_socket"]
    if upstream_http2:
        # The picker's cluster speaks HTTP/2 already; the pool gets the same option.
        options = picker["typed_extension_protocol_options"][_HTTP_OPTIONS]
        pool["typed_extension_protocol_options"] = {_HTTP_OPTIONS: options}
    return bootstrap


def _set_body_mode(listener: Bootstrap, mode: BodyMode) -> None:
    [chain] = listener["filter_chains"]
    [manager] = chain["filters"]
    for host in manager["typed_config"]["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            overrides = route["typed_per_filter_config"][_EXT_PROC]["overrides"]
            processing: Mapping[str, str] = overrides["processing_mode"]
            changed = {**processing, "request_body_mode": mode, "response_body_mode": mode}
            if mode is not BodyMode.FULL_DUPLEX_STREAMED:
                # Gateways ask for trailers only where the duplex mode demands it.
                changed |= {"request_trailer_mode": "SKIP", "response_trailer_mode": "SKIP"}
            overrides["processing_mode"] = changed


def _write_pickers(path: Path, ports: Sequence[int]) -> None:
    """Envoy follows the file, which has to be put in place at once."""
    assignment: Bootstrap = {"cluster_name": "epp", "endpoints": [{}]}
    assignment["endpoints"][0]["lb_endpoints"] = [
        {"endpoint": {"address": _address("127.0.0.1", port)}} for port in ports
    ]
    resource = {"@type": f"type.googleapis.com/{_ASSIGNMENT}", **assignment}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"resources": [resource]}))
    fresh.replace(path)


def _set_hosts(cluster: Bootstrap, hosts: Sequence[tuple[str, int]]) -> None:
    [locality] = cluster["load_assignment"]["endpoints"]
    locality["lb_endpoints"] = [
        {"endpoint": {"address": _address(address, port)}} for address, port in hosts
    ]


def _address(address: str, port: int) -> Bootstrap:
    return {"socket_address": {"address": address, "port_value": port}}
