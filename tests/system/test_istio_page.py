"""Istio's page "Kubernetes Gateway API Inference Extension", from apply to clean-up.

The picker's manifests are the page's; only the program in the image is ours. A real API server
knows the page's Role and nothing more; a real Envoy is programmed as Istio programs it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from lab.apiserver import Cluster
from lab.endpoints import LabEndpoint
from lab.envoy import Envoy, run_envoy
from lab.kubelet import Kubelet, Pod, wait_for
from tests.system.clusters import cluster_with_crds, wait_for_crds

pytestmark = pytest.mark.system

PAGE = Path(__file__).with_name("istio")
NAMESPACE = "inference-model-server"
SERVERS, PICKER = "inference-model-server-deployment", "inference-endpoint-picker"
POOL = "inference-model-server-pool"
# The page's curl, which sends what curl -d sends.
BODY = json.dumps(
    {
        "model": "reviews-1",
        "prompt": "What do reviewers think about The Comedy of Errors?",
        "max_tokens": 100,
        "temperature": 0,
    }
)
CURL = {"content-type": "application/x-www-form-urlencoded", "user-agent": "curl/8.7.1"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.apply(PAGE / "crds.yaml")
        wait_for_crds(cluster)
        yield cluster


@pytest.fixture
def kubelet(cluster: Cluster, tmp_path: Path) -> Iterator[Kubelet]:
    """The page's first two steps are applied, the pods are not started."""
    for name in ("istio-ingress", NAMESPACE):
        cluster.create_namespace(name)
    cluster.apply(PAGE / "servers.yaml")
    cluster.apply(PAGE / "picker.yaml")
    with Kubelet(cluster, NAMESPACE, tmp_path) as kubelet:
        yield kubelet
    for kind in ("deployment", "inferencepool", "pod", "service", "configmap", "rolebinding"):
        cluster.kubectl("delete", kind, "--all", "-n", NAMESPACE, "--force", "--grace-period=0")


@asynccontextmanager
async def gateway(
    directory: Path, servers: list[Pod], pickers: list[Pod]
) -> AsyncIterator[tuple[Envoy, ClientSession]]:
    endpoints = [LabEndpoint(pod.name, pod.address, 8000) for pod in servers]
    ports = [pod.ports.grpc for pod in pickers if pod.ports]
    with run_envoy(directory, picker_port=ports, endpoints=endpoints) as envoy:
        async with ClientSession(envoy.url, timeout=ClientTimeout(total=30)) as client:
            yield envoy, client


async def test_the_page_works_from_apply_to_clean_up(
    cluster: Cluster, kubelet: Kubelet, tmp_path: Path
) -> None:
    servers = kubelet.deploy(SERVERS)
    [picker] = kubelet.deploy(PICKER)
    for pod in [*servers, picker]:
        await asyncio.to_thread(kubelet.wait_ready, pod)

    async with gateway(tmp_path, servers, [picker]) as (envoy, client):
        async with client.post("/v1/completions", data=BODY, headers=CURL) as response:
            assert response.status == 200
            answer = await response.json()
            assert answer["model"] == "reviews-1"
            assert answer["object"] == "text_completion"
            assert answer["usage"]["prompt_tokens"] > 0
        assert envoy.stat("streams_started") == 1

        # Clean-up, in the page's order.
        await asyncio.to_thread(
            cluster.kubectl, "delete", "deployment", SERVERS, PICKER, "-n", NAMESPACE
        )
        await asyncio.to_thread(
            cluster.kubectl, "delete", "httproute", "httproute-for-inferencepool", "-n", NAMESPACE
        )
        await asyncio.to_thread(cluster.kubectl, "delete", "inferencepool", POOL, "-n", NAMESPACE)
        wait_for(lambda: not picker.is_ready(), "not serving without a pool")
        async with client.post("/v1/completions", data=BODY, headers=CURL) as response:
            assert response.status == 503
            assert "failed to find candidate pods" in await response.text()

    kubelet.terminate(PICKER, picker)
    assert await asyncio.to_thread(kubelet.finish, picker) == 0
    log = picker.process.log.read_text()
    assert "Traceback" not in log
    assert "InferencePool not found. Clearing the datastore" in log


async def test_a_rolling_restart_fails_no_request(
    cluster: Cluster, kubelet: Kubelet, tmp_path: Path
) -> None:
    """Two pickers are replaced one by one while requests go on; the proxy learns of it late."""
    deployment = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{PICKER}"
    cluster.patch(deployment, {"spec": {"replicas": 2}})
    servers, old = kubelet.deploy(SERVERS), list(kubelet.deploy(PICKER))
    for pod in [*servers, *old]:
        await asyncio.to_thread(kubelet.wait_ready, pod)
    async with gateway(tmp_path, servers, old) as (envoy, client):
        async with asyncio.TaskGroup() as tasks:
            is_over = asyncio.Event()
            clients = [tasks.create_task(keep_asking(client, is_over)) for _ in range(8)]
            await asyncio.to_thread(roll, kubelet, envoy)
            is_over.set()
        statuses = Counter[int]()
        for asking in clients:
            statuses += asking.result()
    assert statuses.keys() == {200}
    assert statuses[200] > 100


async def keep_asking(client: ClientSession, is_over: asyncio.Event) -> Counter[int]:
    """One request after the other; the statuses of the answers, 0 where there was none."""
    statuses = Counter[int]()
    while not is_over.is_set():
        try:
            async with client.post("/v1/completions", data=BODY, headers=CURL) as response:
                await response.read()
                statuses[response.status] += 1
        except ClientError:
            statuses[0] += 1
        await asyncio.sleep(0.02)
    return statuses


def roll(kubelet: Kubelet, envoy: Envoy) -> None:
    """What the Deployment's controller, the endpoints' one and the gateway do, one by one."""
    for pod in list(kubelet.pods(PICKER)):
        kubelet.wait_ready(kubelet.start(PICKER))
        envoy.set_pickers(grpc_ports(kubelet))
        kubelet.terminate(PICKER, pod)
        time.sleep(1)  # the news of the pod's end travels
        envoy.set_pickers(grpc_ports(kubelet))
        assert kubelet.finish(pod) == 0


def grpc_ports(kubelet: Kubelet) -> list[int]:
    return [pod.ports.grpc for pod in kubelet.pods(PICKER) if pod.ports]
