"""A real kube-apiserver, asked with no more rights than the pool's Role gives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from epp.core.clock import Clock
from epp.datastore.store import Datastore, Pool
from epp.discovery.cluster import ClusterWatch, watch_cluster
from epp.flags.options import read_options
from epp.kube.client import ApiError, KubeClient
from epp.kube.credentials import find_loader
from epp.kube.objects import EXPERIMENTAL_GROUP, ROUTER_GROUP, STABLE_GROUP, Pod
from epp.kube.reflector import Kind, Reflector
from lab.apiserver import Cluster, missing, run_cluster
from tests.kube.server import Hasty, until

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(missing()), reason=missing())]

NAMESPACE = "inference-model-server"
POOL = "inference-model-server-pool"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
LABELS = {"app": "inference-model-server"}
ABSENT = "Going on without a kind of object"


def crd(group: str, version: str, kind: str) -> dict[str, Any]:
    """A definition that takes any spec."""
    plural = f"{kind.lower()}s"
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": free, "status": free}}
    served = {"name": version, "served": True, "storage": True}
    name = f"{plural}.{group}"
    # The API server wants to hear that groups of Kubernetes' own were agreed on.
    approval = {"api-approved.kubernetes.io": "unapproved, for a test"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "annotations": approval},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [{**served, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def role(*extra: tuple[str, str]) -> list[dict[str, Any]]:
    """Reading pool and pods, and the resources ``(group, plural)``, for the default account."""
    api = "rbac.authorization.k8s.io"
    readable = [(STABLE_GROUP, "inferencepools"), ("", "pods"), *extra]
    verbs = ["get", "list", "watch"]
    rules = [{"apiGroups": [g], "resources": [r], "verbs": verbs} for g, r in readable]
    metadata = {"name": "reader", "namespace": NAMESPACE}
    account = {"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}
    return [
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [account],
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "reader"},
        },
    ]


def pool(*ports: int, labels: dict[str, str] = LABELS) -> dict[str, Any]:
    return {
        "apiVersion": f"{STABLE_GROUP}/v1",
        "kind": "InferencePool",
        "metadata": {"name": POOL, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "targetPorts": [{"number": port} for port in ports],
            "endpointPickerRef": {"name": "endpoint-picker-svc", "port": {"number": 9002}},
        },
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.create_namespace(NAMESPACE)
        cluster.apply(crd(STABLE_GROUP, "v1", "InferencePool"), *role())
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        cluster.apply(pool(8000))
        for number in (1, 2):
            cluster.create_pod(NAMESPACE, f"server-{number}", f"10.0.0.{number}", LABELS)
        yield cluster


@pytest.fixture
def environ(cluster: Cluster) -> dict[str, str]:
    return {"KUBECONFIG": cluster.kubeconfig(cluster.token(NAMESPACE))}


FLAGS = ("--pool-name", POOL, "--pool-namespace", NAMESPACE)


@asynccontextmanager
async def following(
    environ: dict[str, str], datastore: Datastore, flags: Sequence[str] = FLAGS
) -> AsyncIterator[ClusterWatch]:
    """A datastore that follows the cluster, and waits a hundred times shorter than usual."""
    watch = watch_cluster(
        read_options(flags, {})[0],
        datastore,
        environ,
        clock=Clock(),
        random=Hasty(),
        on_models=lambda _: None,
    )
    await watch.open()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(watch.run())
        yield watch
        running.cancel()


def destinations(datastore: Datastore) -> list[str]:
    return sorted(endpoint.destination for endpoint in datastore.endpoints())


BOTH = ["10.0.0.1:8000", "10.0.0.2:8000"]


async def test_with_the_role_of_pool_and_pods_every_change_is_followed(
    cluster: Cluster, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    datastore = Datastore()
    async with following(environ, datastore):
        await until(lambda: datastore.pool)
        assert datastore.pool == Pool(POOL, NAMESPACE)
        assert destinations(datastore) == BOTH
        assert caplog.messages == [ABSENT] * 4

        await on(cluster.create_pod, NAMESPACE, "server-3", "10.0.0.3", LABELS)
        await until(lambda: "10.0.0.3:8000" in destinations(datastore))
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/server-3"
        await on(cluster.patch, path, {"metadata": {"labels": {"app": "other"}}})
        await until(lambda: destinations(datastore) == BOTH)
        await on(cluster.patch, path, {"metadata": {"labels": LABELS}})
        await until(lambda: len(destinations(datastore)) == 3)
        await on(cluster.delete_pod, NAMESPACE, "server-3")
        await until(lambda: destinations(datastore) == BOTH)

        await on(cluster.apply, pool(8000, 8001))
        await until(lambda: len(destinations(datastore)) == 4)
        await on(cluster.apply, pool(8000, labels={"app": "nobody"}))
        await until(lambda: destinations(datastore) == [])
        await on(cluster.apply, pool(8000))
        await until(lambda: destinations(datastore) == BOTH)

        await on(cluster.kubectl, "delete", "inferencepool", POOL, "-n", NAMESPACE)
        await until(lambda: datastore.pool is None)
        assert destinations(datastore) == []
        await on(cluster.apply, pool(8000))
        await until(lambda: datastore.pool)
        assert destinations(datastore) == BOTH
    assert [r.message for r in caplog.records if r.levelno >= logging.ERROR] == []


async def on(function: Any, *arguments: Any) -> Any:
    """Do it as the administrator, beside the loop."""
    return await asyncio.to_thread(function, *arguments)


async def test_an_api_server_that_goes_and_returns_costs_no_endpoint(
    cluster: Cluster, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kubernetes")
    datastore = Datastore()
    removed: list[str] = []
    datastore.subscribe(added=lambda _: None, removed=removed.append)
    async with following(environ, datastore):
        await until(lambda: destinations(datastore) == BOTH)
        await on(cluster.stop)
        lost = "Kubernetes API server is unreachable; going on with what is known"
        await until(lambda: lost in caplog.messages)
        assert destinations(datastore) == BOTH
        assert datastore.pool
        cluster.start()  # not on another thread: with its end the API server would go, too
        await on(cluster.create_pod, NAMESPACE, "late", "10.0.0.9", LABELS)
        await until(lambda: "10.0.0.9:8000" in destinations(datastore))
        assert removed == []
        await on(cluster.delete_pod, NAMESPACE, "late")
        await until(lambda: destinations(datastore) == BOTH)
    told = [r.message for r in caplog.records if r.name == "kubernetes"]
    assert told.count(lost) == 1
    assert told.count("Kubernetes API server is reachable again") == 1


async def test_in_a_pod_a_rotated_token_is_read_again(cluster: Cluster, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the one before")
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
    loader = find_loader("", environ, token_file=str(token), ca_file=str(cluster.certificate))
    client = KubeClient(loader)
    await client.open()
    with pytest.raises(ApiError, match="Unauthorized"):
        await client.get(PODS)
    token.write_text(cluster.token(NAMESPACE))
    assert b'"kind":"PodList"' in await client.get(PODS)
    await client.close()


async def test_a_version_that_the_api_server_has_forgotten_costs_a_new_list(
    cluster: Cluster, environ: dict[str, str]
) -> None:
    client = KubeClient(find_loader("", environ))
    await client.open()
    seen: list[set[str]] = []
    reflector = Reflector(
        client,
        Kind("*v1.Pod", PODS, Pod),
        lambda pods, _: seen.append(set(pods)),
        clock=Clock(),
        random=Hasty(),
    )
    reflector._version = "1"
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(reflector.run())
        await until(reflector.tried.is_set)  # by a list only
        running.cancel()
    assert seen == [{"server-1", "server-2"}]
    await client.close()


@pytest.mark.parametrize("group", [EXPERIMENTAL_GROUP, ROUTER_GROUP])
async def test_kinds_and_rights_may_come_while_it_runs(
    cluster: Cluster, environ: dict[str, str], group: str
) -> None:
    datastore = Datastore()
    kinds = ("InferenceObjective", "InferenceModelRewrite")
    async with following(environ, datastore):
        await until(lambda: datastore.pool)
        await on(cluster.apply, *(crd(group, "v1alpha2", kind) for kind in kinds))
        wait = ("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        await on(cluster.kubectl, *wait)
        await on(cluster.apply, *role(*((group, f"{kind.lower()}s") for kind in kinds)))
        reference = {"group": STABLE_GROUP, "kind": "InferencePool", "name": POOL}
        rules = [{"targets": [{"modelRewrite": "t"}]}]
        specs: tuple[dict[str, Any], ...] = ({"priority": -3}, {"rules": rules})
        for kind, spec in zip(kinds, specs, strict=True):
            document = {
                "apiVersion": f"{group}/v1alpha2",
                "kind": kind,
                "metadata": {"name": "x", "namespace": NAMESPACE},
                "spec": {"poolRef": reference, **spec},
            }
            await on(cluster.apply, document)
        await until(lambda: datastore.priority("x") == -3)
        await until(lambda: datastore.rewrites.models() == {"t"})
        names = [f"{kind.lower()}s.{group}" for kind in kinds]
        await on(cluster.kubectl, "delete", "crd", *names)
        await until(lambda: datastore.priority("x") == 0)
        await until(lambda: not datastore.rewrites.models())
        assert datastore.pool
    await on(cluster.apply, *role())


async def test_by_a_selector_only_pods_need_be_readable(
    cluster: Cluster, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    datastore = Datastore()
    flags = ["--endpoint-selector", "app,app notin (other)", "--endpoint-target-ports", "1,2"]
    flags += ["--pool-namespace", NAMESPACE]
    async with following({**environ, "POD_NAME": "epp-5d8-x2x"}, datastore, flags):
        await until(lambda: datastore.pool)
        assert datastore.pool == Pool("epp", NAMESPACE)
        assert len(destinations(datastore)) == 4
    assert caplog.messages == []
