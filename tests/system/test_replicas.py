"""Two pickers with leader election, and who may read their metrics, with a real API server."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.apiserver import Cluster
from lab.kubelet import wait_for
from lab.picker import PickerPorts, check_health, start_picker
from lab.process import ROOT, Process
from tests.system.clusters import cluster_with_crds

pytestmark = pytest.mark.system

NAMESPACE = "replicas"
RIGHTS = ("pool", "leases")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.create_namespace(NAMESPACE)
        account = {"name": "inference-endpoint-picker", "namespace": NAMESPACE}
        cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        for part in RIGHTS:
            text = cluster.kubectl("kustomize", str(ROOT / "config" / "rbac" / part))
            cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", text=text)
        cluster.apply(
            {
                "apiVersion": "inference.networking.k8s.io/v1",
                "kind": "InferencePool",
                "metadata": {"name": "pool", "namespace": NAMESPACE},
                "spec": {
                    "selector": {"matchLabels": {"app": "vllm"}},
                    "targetPorts": [{"number": 8000}],
                    "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
                },
            }
        )
        yield cluster


def start(cluster: Cluster, directory: Path, *flags: str) -> tuple[Process, PickerPorts]:
    ports = PickerPorts.free()
    token = cluster.token(NAMESPACE, "inference-endpoint-picker")
    process = start_picker(
        directory,
        ["--pool-name", "pool", "--pool-namespace", NAMESPACE, *flags],
        ports=ports,
        environment={"KUBECONFIG": cluster.kubeconfig(token, namespace=NAMESPACE)},
    )
    return process, ports


def test_the_next_leader_is_ready_before_the_first_has_gone(
    cluster: Cluster, tmp_path: Path
) -> None:
    flag = "--ha-enable-leader-election"
    first, at = start(cluster, tmp_path, flag, "--drain-delay", "15s")
    with first:
        wait_for(lambda: check_health(at.health, "readiness"), "the first leads")
        second, then = start(cluster, tmp_path, flag)
        with second:
            wait_for(lambda: check_health(then.health, "liveness"), "the second is alive")
            assert not check_health(then.health, "readiness")
            assert not check_health(then.health, "inference-extension")
            first.signal(signal.SIGTERM)
            wait_for(lambda: check_health(then.health, "readiness"), "the second leads")
            assert check_health(at.health, "liveness")
            assert not check_health(at.health, "readiness")
            assert first.running
            assert first.wait(30) == 0
            lease = cluster.request(
                "GET",
                f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/"
                f"epp-{NAMESPACE}-pool.gateway-api-inference-extension.sigs.k8s.io",
            )["spec"]
            assert lease["leaseDurationSeconds"] == 15

            # Somebody else writes its name over the leader's.
            name = f"epp-{NAMESPACE}-pool.gateway-api-inference-extension.sigs.k8s.io"
            path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}"
            cluster.patch(path, {"spec": {"holderIdentity": "somebody-else"}})
            assert second.wait(30) == 1


def status_of(ports: PickerPorts, token: str | None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", ports.metrics, timeout=10)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", "/metrics", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_checklist_11_metrics_are_for_those_with_a_token_and_the_right(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.apply(
        *(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": NAMESPACE},
            }
            for name in ("scraper", "stranger")
        ),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "reads-metrics"},
            "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "reads-metrics"},
            "subjects": [{"kind": "ServiceAccount", "name": "scraper", "namespace": NAMESPACE}],
            "roleRef": {
                "kind": "ClusterRole",
                "name": "reads-metrics",
                "apiGroup": "rbac.authorization.k8s.io",
            },
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "picker-reviews"},
            "subjects": [
                {
                    "kind": "ServiceAccount",
                    "name": "inference-endpoint-picker",
                    "namespace": NAMESPACE,
                }
            ],
            "roleRef": {
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
                "apiGroup": "rbac.authorization.k8s.io",
            },
        },
    )
    process, ports = start(cluster, tmp_path)
    with process:
        wait_for(lambda: check_health(ports.health, ""), "the picker serves")
        assert status_of(ports, None) == 401
        assert status_of(ports, "nonsense") == 401
        assert status_of(ports, cluster.token(NAMESPACE, "stranger")) == 403
        assert status_of(ports, cluster.token(NAMESPACE, "scraper")) == 200
    process, ports = start(cluster, tmp_path, "--metrics-endpoint-auth=false")
    with process:
        wait_for(lambda: check_health(ports.health, ""), "the picker serves")
        assert status_of(ports, None) == 200
