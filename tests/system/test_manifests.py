"""The folders of ``config`` on a real API server: what they make, and the rights they give."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from epp.flags.options import Options, read_options
from lab.apiserver import Cluster
from tests.system.clusters import CONFIG, cluster_with_crds, wait_for_crds

pytestmark = pytest.mark.system

NAMESPACE = "inference-model-server"
PICKER = "inference-endpoint-picker"
SCRAPER = "epp-metrics-scraper"
PICKERS = ("istio", "ha", "standalone")
FOLDERS = (*PICKERS, "prometheus")
# Kinds of other projects that the manifests use: plural, kind, group, version.
FOREIGN = (
    ("destinationrules", "DestinationRule", "networking.istio.io", "v1"),
    ("servicemonitors", "ServiceMonitor", "monitoring.coreos.com", "v1"),
    ("prometheusrules", "PrometheusRule", "monitoring.coreos.com", "v1"),
)
READ = ("get", "list", "watch")
PODS = {("", "pods", verb) for verb in READ}
POOL = PODS | {
    (group, resource, verb)
    for group, resource in (
        ("inference.networking.k8s.io", "inferencepools"),
        ("inference.networking.x-k8s.io", "inferencepools"),
        ("inference.networking.x-k8s.io", "inferenceobjectives"),
        ("inference.networking.x-k8s.io", "inferencemodelrewrites"),
        ("llm-d.ai", "inferenceobjectives"),
        ("llm-d.ai", "inferencemodelrewrites"),
    )
    for verb in READ
}
LEADER = {
    ("coordination.k8s.io", "leases", verb)
    for verb in (*READ, "create", "update", "patch", "delete")
} | {("", "events", "create"), ("", "events", "patch")}
METRICS_AUTH = {
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "create"),
}

Rights = set[tuple[str, str, str]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.apply(*(_stand_in(*kind) for kind in FOREIGN))
        wait_for_crds(cluster)
        cluster.create_namespace(NAMESPACE)
        # Refuses every pod that asks for more than the strictest of the standards allows.
        cluster.kubectl(
            "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"
        )
        yield cluster


def _stand_in(plural: str, kind: str, group: str, version: str) -> dict[str, Any]:
    """A CustomResourceDefinition that takes everything."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": anything},
                }
            ],
        },
    }


@contextmanager
def applied(cluster: Cluster, folder: str) -> Iterator[None]:
    """The objects of a folder, until they are no longer needed."""
    cluster.kubectl("apply", "-k", str(CONFIG / folder), "--warnings-as-errors")
    try:
        yield
    finally:
        cluster.kubectl("delete", "-k", str(CONFIG / folder), "--ignore-not-found")


def rendered(cluster: Cluster, folder: str) -> dict[str, list[dict[str, Any]]]:
    """What ``kubectl apply -k`` would send, by kind."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for item in yaml.safe_load_all(cluster.kubectl("kustomize", str(CONFIG / folder))):
        kinds.setdefault(item["kind"], []).append(item)
    return kinds


def options(deployment: dict[str, Any]) -> Options:
    """How the picker reads its arguments there."""
    picker = deployment["spec"]["template"]["spec"]["containers"][0]
    assert picker["name"] == "epp"
    return read_options(picker["args"], {})[0]


def rights(cluster: Cluster, account: str) -> tuple[Rights, set[tuple[str, str]]]:
    """What a ServiceAccount may do beyond what everybody may: with resources, and with paths."""

    def ask(token: str) -> tuple[Rights, set[tuple[str, str]]]:
        answer = cluster.request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            {"spec": {"namespace": NAMESPACE}},
            token=token,
        )["status"]
        assert not answer["incomplete"]
        resources = {
            (group, resource, verb)
            for rule in answer["resourceRules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        paths = {
            (path, verb)
            for rule in answer["nonResourceRules"]
            for path in rule["nonResourceURLs"]
            for verb in rule["verbs"]
        }
        return resources, paths

    everybody = ask(cluster.token(NAMESPACE, "default"))
    mine = ask(cluster.token(NAMESPACE, account))
    return mine[0] - everybody[0], mine[1] - everybody[1]


def eventually_equal(found: Any, expected: Any) -> None:
    """The API server learns of new rights by watching, like everybody else."""
    deadline = time.monotonic() + 30
    while (value := found()) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    assert value == expected


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_applied_without_a_warning_and_need_not_be_twice(
    cluster: Cluster, folder: str
) -> None:
    kinds = rendered(cluster, folder)
    with applied(cluster, folder):
        again = cluster.kubectl("apply", "-k", str(CONFIG / folder))
    assert len(again.splitlines()) == sum(len(items) for items in kinds.values())
    assert all(line.endswith(" unchanged") for line in again.splitlines()), again


def test_one_picker_follows_another(cluster: Cluster) -> None:
    with applied(cluster, "istio"), applied(cluster, "ha"):
        deployment = cluster.request(
            "GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{PICKER}"
        )
        assert deployment["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("folder", "account", "resources", "paths"),
    [
        ("istio", PICKER, POOL, set()),
        ("ha", PICKER, POOL | LEADER, set()),
        ("standalone", PICKER, PODS, set()),
        ("prometheus", PICKER, METRICS_AUTH, set()),
        ("prometheus", SCRAPER, set(), {("/metrics", "get")}),
    ],
)
def test_an_account_may_do_what_it_must_and_no_more(
    cluster: Cluster,
    folder: str,
    account: str,
    resources: Rights,
    paths: set[tuple[str, str]],
) -> None:
    with applied(cluster, folder):
        cluster.kubectl(  # the picker's account is not among the objects of prometheus
            "apply", "-f", str(CONFIG / "picker" / "account.yaml"), "--namespace", NAMESPACE
        )
        eventually_equal(lambda: rights(cluster, account), (resources, paths))


@pytest.mark.parametrize("folder", PICKERS)
def test_the_pods_are_as_restricted_as_pods_can_be(cluster: Cluster, folder: str) -> None:
    (deployment,) = rendered(cluster, folder)["Deployment"]
    template = deployment["spec"]["template"]
    cluster.request(
        "POST",
        f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All",
        {"metadata": {"name": "picker", **template["metadata"]}, "spec": template["spec"]},
    )
    for container in template["spec"]["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("folder", ["istio", "ha"])
def test_the_picker_understands_its_arguments_and_ends_in_time(
    cluster: Cluster, folder: str
) -> None:
    kinds = rendered(cluster, folder)
    (deployment,), (pool,) = kinds["Deployment"], kinds["InferencePool"]
    read = options(deployment)
    assert (read.pool_name, read.pool_namespace) == (pool["metadata"]["name"], NAMESPACE)
    assert read.ha_enable_leader_election is (folder == "ha")
    assert read.secure_serving
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert read.drain_delay_seconds < read.drain_timeout_seconds < grace


@pytest.mark.parametrize("folder", ["istio", "ha"])
def test_the_gateway_finds_the_picker(cluster: Cluster, folder: str) -> None:
    kinds = rendered(cluster, folder)
    (pool,), (service,), (rule,) = (
        kinds[kind] for kind in ("InferencePool", "Service", "DestinationRule")
    )
    picker = pool["spec"]["endpointPickerRef"]
    (port,) = service["spec"]["ports"]
    assert picker == {"name": service["metadata"]["name"], "port": {"number": port["port"]}}
    assert rule["spec"]["host"] == service["metadata"]["name"]
    assert port["appProtocol"] == "http2"
    (deployment,) = kinds["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert port["targetPort"] == options(deployment).grpc_port


def test_other_plugins_mean_other_pods(cluster: Cluster) -> None:
    kinds = rendered(cluster, "istio")
    (deployment,), (plugins,) = kinds["Deployment"], kinds["ConfigMap"]
    (volume,) = deployment["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == plugins["metadata"]["name"]
    assert plugins["metadata"]["name"] != "plugins-config"
    file = CONFIG / "picker" / "default-plugins.yaml"
    assert plugins["data"] == {file.name: file.read_text()}


def test_the_scraper_s_secret_and_ports_are_those_of_the_service_monitor(
    cluster: Cluster,
) -> None:
    kinds = rendered(cluster, "prometheus")
    (monitor,), (secret,), (service,) = (
        kinds[kind] for kind in ("ServiceMonitor", "Secret", "Service")
    )
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == secret["metadata"]["name"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    for folder in PICKERS:
        (deployment,) = rendered(cluster, folder)["Deployment"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
