"""Leader election, who may read metrics, and objectives, with a real API server."""

from __future__ import annotations

import http.client
import queue
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from epp.director import OBJECTIVE_HEADERS
from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.servicer import SERVICE
from lab import http as lab_http
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
        put_pool(cluster, "pool")
        yield cluster


def put_pool(cluster: Cluster, name: str) -> None:
    cluster.apply(
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": {"app": "vllm"}},
                "targetPorts": [{"number": 8000}],
                "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
            },
        }
    )


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
            lease = cluster.request("GET", lease_of("pool"))["spec"]
            assert lease["leaseDurationSeconds"] == 15

            # Somebody else writes its name over the leader's.
            cluster.patch(lease_of("pool"), {"spec": {"holderIdentity": "somebody-else"}})
            assert second.wait(30) == 1


def test_who_drains_at_once_gives_the_lease_back_all_the_same(
    cluster: Cluster, tmp_path: Path
) -> None:
    put_pool(cluster, "brief")
    flags = ["--ha-enable-leader-election", "--drain-delay", "0s", "--pool-name", "brief"]
    process, ports = start(cluster, tmp_path, *flags)
    with process:
        wait_for(lambda: check_health(ports.health, "readiness"), "it leads")
        assert cluster.request("GET", lease_of("brief"))["spec"]["holderIdentity"]
        process.signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not cluster.request("GET", lease_of("brief"))["spec"].get("holderIdentity")


def lease_of(pool: str) -> str:
    name = f"epp-{NAMESPACE}-{pool}.gateway-api-inference-extension.sigs.k8s.io"
    return f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}"


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


def answer_to(ports: PickerPorts, objective: str) -> pb.ProcessingResponse:
    """What a proxy is told about a request of this objective."""
    headers = pb.HttpHeaders()
    for key, value in ((":path", "/v1/completions"), (OBJECTIVE_HEADERS[0], objective)):
        headers.headers.headers.append(pb.HeaderValue(key=key, raw_value=value.encode()))
    body = pb.HttpBody(body=b'{"model":"m","prompt":"p"}', end_of_stream=True)
    messages = [
        pb.ProcessingRequest(request_headers=headers),
        pb.ProcessingRequest(request_body=body),
    ]
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/Process")
        answers = call(iter([message.SerializeToString() for message in messages]), timeout=10)
        return answered(answers)


def test_a_sheddable_request_is_refused_when_the_pool_is_saturated(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Nobody has read the only pod's metrics: it has no room for those that can wait."""
    cluster.create_pod(NAMESPACE, "pod", "127.78.0.1", {"app": "vllm"})
    for name, priority in (("batch", -1), ("chat", 5)):
        cluster.apply(
            {
                "apiVersion": "inference.networking.x-k8s.io/v1alpha2",
                "kind": "InferenceObjective",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"priority": priority, "poolRef": {"name": "pool"}},
            }
        )
    flags = ["--secure-serving=false", "--metrics-endpoint-auth=false"]
    process, ports = start(cluster, tmp_path, *flags, "--enable-grpc-stream-metrics")
    with process:
        wait_for(lambda: check_health(ports.health, ""), "the picker serves")
        refused = answer_to(ports, "batch").immediate_response
        assert refused.status.code == 429
        assert b"system saturated, sheddable request dropped" in refused.body
        assert answer_to(ports, "chat").HasField("request_headers")
        page = lab_http.get(ports.metrics, "/metrics")[1]
        assert "llm_d_epp_extproc_streams_total{" in page
        assert 'priority="5"' in page


def test_a_running_stream_finishes_when_the_pool_is_deleted(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.create_pod(NAMESPACE, "running", "127.78.0.2", {"app": "vllm"})
    flags = ["--secure-serving=false", "--metrics-endpoint-auth=false"]
    process, ports = start(cluster, tmp_path, *flags)
    with process, grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        wait_for(lambda: check_health(ports.health, ""), "the picker serves")
        sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        process_call: Any = channel.stream_stream(f"/{SERVICE}/Process")
        call = process_call(iter(sent.get, None), timeout=60)
        body = pb.HttpBody(body=b'{"model":"m","prompt":"p"}', end_of_stream=True)
        sent.put(pb.ProcessingRequest(request_headers=pb.HttpHeaders()).SerializeToString())
        sent.put(pb.ProcessingRequest(request_body=body).SerializeToString())
        assert answered(call).HasField("request_headers")
        assert answered(call).HasField("request_body")
        cluster.kubectl("delete", "inferencepool", "pool", "-n", NAMESPACE)
        wait_for(lambda: not check_health(ports.health, ""), "there is no pool")
        sent.put(pb.ProcessingRequest(response_headers=pb.HttpHeaders()).SerializeToString())
        assert answered(call).HasField("response_headers")
        body = pb.HttpBody(body=b"the end", end_of_stream=True)
        sent.put(pb.ProcessingRequest(response_body=body).SerializeToString())
        last = answered(call).response_body.response.body_mutation.streamed_response
        assert (last.body, last.end_of_stream) == (b"the end", True)
        sent.put(None)
        assert call.code() is grpc.StatusCode.OK


def answered(call: Any) -> pb.ProcessingResponse:
    return pb.ProcessingResponse.FromString(next(call))
