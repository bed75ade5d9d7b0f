"""The points of a drop-in's checklist that need a cluster; see also ``test_checklist.py``."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from lab import http
from lab.apiserver import Cluster
from lab.kubelet import wait_for
from lab.picker import PickerPorts, check_health, start_picker
from lab.ports import free_port, free_range
from lab.process import Process, running
from tests.system.clusters import cluster_with_crds

pytestmark = pytest.mark.system

NAMESPACE = "inference-model-server"
POOL = "inference-model-server-pool"
LABELS = {"app": "inference-model-server"}
PAGE = Path(__file__).with_name("istio")
LEASE = f"epp-{NAMESPACE}-{POOL}.gateway-api-inference-extension.sigs.k8s.io"
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The page's Role and nothing more; without the CRDs that the page does not install."""
    with cluster_with_crds(tmp_path_factory.mktemp("cluster")) as cluster:
        for gone in ("inferencemodelrewrites", "inferenceobjectives"):
            cluster.kubectl("delete", "crd", f"{gone}.llm-d.ai")
        cluster.kubectl("delete", "crd", "inferencemodelrewrites.inference.networking.x-k8s.io")
        cluster.create_namespace(NAMESPACE)
        role = (PAGE / "picker.yaml").read_text().split("\n---\n")
        cluster.apply(*[text for text in role if "kind: Role" in text])
        yield cluster


@pytest.fixture(autouse=True)
def empty(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.kubectl("delete", "inferencepool", "--all", "-n", NAMESPACE)
    cluster.kubectl("delete", "pod", "--all", "-n", NAMESPACE, "--force", "--grace-period=0")


def put_pool(cluster: Cluster, *ports: int, labels: dict[str, str] = LABELS) -> None:
    cluster.apply(
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": POOL, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": labels},
                "targetPorts": [{"number": port} for port in ports],
                "endpointPickerRef": {"name": "endpoint-picker-svc", "port": {"number": 9002}},
            },
        }
    )


@contextmanager
def picker(
    cluster: Cluster, directory: Path, *flags: str, account: str = "default"
) -> Iterator[tuple[Process, PickerPorts]]:
    ports = PickerPorts.free()
    token = cluster.token(NAMESPACE, account)
    arguments = ["--pool-name", POOL, "--pool-namespace", NAMESPACE, "--zap-encoder", "json"]
    arguments += ["--metrics-endpoint-auth=false", "--drain-delay", "0s", *flags]
    environment = {"KUBECONFIG": cluster.kubeconfig(token, namespace=NAMESPACE)}
    with start_picker(directory, arguments, ports=ports, environment=environment) as process:
        yield process, ports


def is_serving(ports: PickerPorts) -> bool:
    return check_health(ports.health, "inference-extension")


def endpoints(ports: PickerPorts) -> dict[str, float]:
    """The queue lengths by endpoint, as the metrics page has them."""
    lines = http.get(ports.metrics, "/metrics")[1].splitlines()
    start = "inference_pool_per_pod_queue_size{"
    return {
        line.split('model_server_pod="')[1].split('"')[0]: float(line.split()[-1])
        for line in lines
        if line.startswith(start)
    }


@contextmanager
def model_servers(directory: Path, address: str, port: int, count: int) -> Iterator[None]:
    """Simulated model servers on neighbouring ports of one address."""
    command = [sys.executable, "-m", "epp", "simulator", "--model", "m", "--host", address]
    command += ["--port", str(port), "--replicas", str(count)]
    command += ["--fake-metrics", json.dumps({"waiting-requests": 3, "kv-cache-usage": 0.5})]
    with running(
        "servers",
        command,
        log=directory / f"servers-{address}.log",
        ready=lambda: http.answers(port, "/health", address=address),
    ):
        yield


def test_checklist_01_health_follows_the_pool(cluster: Cluster, tmp_path: Path) -> None:
    with picker(cluster, tmp_path, "--v", "4") as (process, ports):
        wait_for(lambda: "gRPC server listening" in process.log.read_text(), "it listens")
        time.sleep(0.5)
        assert not is_serving(ports)
        put_pool(cluster, 8000)
        wait_for(lambda: is_serving(ports), "serving with a pool")
        cluster.kubectl("delete", "inferencepool", POOL, "-n", NAMESPACE)
        wait_for(lambda: not is_serving(ports), "not serving without")
        assert process.running


def check(port: int, service: str) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        return health_pb2.HealthCheckResponse.FromString(call(request, timeout=5)).status


def test_checklist_03_health_by_name_with_leader_election(cluster: Cluster, tmp_path: Path) -> None:
    put_pool(cluster, 8000)
    with picker(cluster, tmp_path, "--ha-enable-leader-election") as (_, ports):
        wait_for(lambda: check_health(ports.health, "liveness"), "it is alive")
        assert check(ports.health, "inference-extension") == SERVICE_UNKNOWN
        assert check(ports.health, "nonsense") == SERVICE_UNKNOWN
        # The page's Role has no right on leases: it never leads.
        assert not check_health(ports.health, "readiness")
        with grpc.insecure_channel(f"127.0.0.1:{ports.health}") as channel:
            watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
            with pytest.raises(grpc.RpcError) as refused:
                list(watch(b"", timeout=5))
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with picker(cluster, tmp_path) as (_, ports):
        wait_for(lambda: check_health(ports.health, "nonsense"), "any name without election")


def test_checklist_05_two_target_ports_are_two_ranks(cluster: Cluster, tmp_path: Path) -> None:
    port = free_range(2)[0]
    address = "127.77.0.5"
    cluster.create_pod(NAMESPACE, "pod", address, LABELS)
    put_pool(cluster, port, port + 1)
    with (
        model_servers(tmp_path, address, port, 2),
        picker(cluster, tmp_path, "--model-server-metrics-port", "1") as (_, ports),
    ):
        wait_for(lambda: is_serving(ports), "serving")
        ranks = {"pod-rank-0": 3.0, "pod-rank-1": 3.0}
        wait_for(lambda: endpoints(ports) == ranks, "both ranks are read on their own ports")


def test_checklist_06_endpoints_follow_pods_and_selector(cluster: Cluster, tmp_path: Path) -> None:
    put_pool(cluster, 8000)
    for name in ("ready", "unready", "relabelled", "deleted"):
        cluster.create_pod(NAMESPACE, name, "127.77.0.6", LABELS)
    cluster.create_pod(NAMESPACE, "other", "127.77.0.7", {"app": "other"})
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    with picker(cluster, tmp_path) as (_, ports):
        wait_for(lambda: is_serving(ports), "serving")
        everybody = {f"{name}-rank-0" for name in ("ready", "unready", "relabelled", "deleted")}
        wait_for(lambda: set(endpoints(ports)) == everybody, "all four")
        cluster.set_pod_status(NAMESPACE, "unready", "127.77.0.6", ready=False)
        cluster.patch(f"{pods}/relabelled", {"metadata": {"labels": {"app": "other"}}})
        cluster.delete_pod(NAMESPACE, "deleted")
        wait_for(lambda: set(endpoints(ports)) == {"ready-rank-0"}, "the ready one")
        put_pool(cluster, 8000, labels={"app": "other"})
        others = {"other-rank-0", "relabelled-rank-0"}
        wait_for(lambda: set(endpoints(ports)) == others, "the selector's others")


def test_checklist_08_and_09_fresh_ranks_are_counted_and_a_404_hurts_nobody_else(
    cluster: Cluster, tmp_path: Path
) -> None:
    port = free_port()
    good, silent = "127.77.0.8", "127.77.0.9"
    cluster.create_pod(NAMESPACE, "good", good, LABELS)
    cluster.create_pod(NAMESPACE, "silent", silent, LABELS)
    put_pool(cluster, port)
    flags = ("--refresh-prometheus-metrics-interval", "200ms")
    with model_servers(tmp_path, good, port, 1), picker(cluster, tmp_path, *flags) as (_, ports):
        wait_for(lambda: is_serving(ports), "serving")
        expected = f'inference_pool_ready_pods{{name="{POOL}"}} 1'
        wait_for(lambda: expected in http.get(ports.metrics, "/metrics")[1], "one is fresh")
        wait_for(lambda: endpoints(ports) == {"good-rank-0": 3, "silent-rank-0": 0}, "queues")


def test_checklist_12_losing_the_lease_ends_the_process(cluster: Cluster, tmp_path: Path) -> None:
    put_pool(cluster, 8000)
    account = {"name": "leader", "namespace": NAMESPACE}
    subject = {"kind": "ServiceAccount", **account}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    for name, role in (("leader-reads", "inference-model-reader"), ("leader-leads", "leases")):
        if role == "leases":
            cluster.apply(
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "Role",
                    "metadata": {"name": role, "namespace": NAMESPACE},
                    "rules": [
                        {
                            "apiGroups": ["coordination.k8s.io"],
                            "resources": ["leases"],
                            "verbs": ["get", "create", "update"],
                        }
                    ],
                }
            )
        cluster.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "subjects": [subject],
                "roleRef": {
                    "kind": "Role",
                    "name": role,
                    "apiGroup": "rbac.authorization.k8s.io",
                },
            }
        )
    with picker(cluster, tmp_path, "--ha-enable-leader-election", account="leader") as (
        process,
        ports,
    ):
        wait_for(lambda: check_health(ports.health, "readiness"), "it leads")
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{LEASE}"
        spec = cluster.request("GET", path)["spec"]
        assert spec["leaseDurationSeconds"] == 15
        host, _, unique = spec["holderIdentity"].rpartition("_")
        assert host
        assert len(unique) == 36
        cluster.patch(path, {"spec": {"holderIdentity": "somebody-else"}})
        assert process.wait(30) == 1


def test_checklist_14_missing_and_forbidden_kinds_do_not_matter(
    cluster: Cluster, tmp_path: Path
) -> None:
    put_pool(cluster, 8000)
    with picker(cluster, tmp_path) as (process, ports):
        wait_for(lambda: is_serving(ports), "serving with the page's Role")
        lines = [json.loads(line) for line in process.log.read_text().splitlines()]
        without = [line for line in lines if line["msg"] == "Going on without a kind of object"]
        assert len(without) == 4
        process.signal(signal.SIGTERM)
        assert process.wait(20) == 0
