"""What the picker does in a cluster: ``python -m benchmarks.cluster``.

A real API server, pods that are entries in it, model servers on loopback addresses that play them.
Figures of time are of this machine; the number of failed requests should be 0 on any.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from random import Random

import msgspec
import uvloop

from benchmarks import backend
from benchmarks.load import Plan, Result
from benchmarks.measure import memory
from epp.core.clock import Clock
from epp.core.endpoint import Endpoint
from epp.datastore.store import Datastore
from epp.discovery.cluster import ClusterWatch
from epp.discovery.pool import PoolIdentity, PoolView
from epp.kube.client import KubeClient
from epp.kube.credentials import find_loader
from lab import http
from lab.apiserver import Cluster, missing, run_cluster
from lab.endpoints import LabEndpoint
from lab.envoy import Envoy, run_envoy
from lab.kubelet import wait_for
from lab.picker import PickerPorts, is_serving, start_picker
from lab.ports import free_port
from lab.process import ROOT, Process, running

NAMESPACE = "models"
POOL = "pool"
LABELS = {"app": "vllm"}
STARTED_PODS = 100
MANY_PODS = 1000
CHANGES = 200
RATE = 200.0
_LAG_SECONDS = 1.0


def main() -> int:
    """Command line; the exit code is 1 when requests failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the changes and pods")
    options = parser.parse_args()
    if problem := missing():
        print(problem, file=sys.stderr)
        return 2
    share = 0.1 if options.quick else 1.0
    with tempfile.TemporaryDirectory(prefix="epp-cluster-") as folder:
        directory = Path(folder)
        with run_cluster(directory / "cluster") as cluster:
            _prepare(cluster)
            started(cluster, directory, round(STARTED_PODS * share))
            uvloop.run(changes(cluster, round(CHANGES * share)))
            uvloop.run(many(cluster, round(MANY_PODS * share)))
            return rolling(cluster, directory)


def started(cluster: Cluster, directory: Path, pods: int) -> None:
    """From the start of the process to SERVING, with all pods there; memory five seconds later."""
    for index in range(pods):
        cluster.create_pod(NAMESPACE, f"pod-{index}", _address(index), LABELS)
    port = _pool(cluster)
    with _servers(directory, port, pods):
        begun = time.monotonic()
        process, ports = _picker(cluster, directory)
        with process:
            process.wait_ready(partial(is_serving, ports.health))
            seconds = time.monotonic() - begun
            wait_for(lambda: f'{{name="{POOL}"}} {pods}' in _metrics(ports), "every pod is read")
            time.sleep(5)
            print(f"start to SERVING with {pods} pods: {seconds:.2f} s")
            print(f"resident after reading them for 5 s: {memory(process.pid).now_mib:.0f} MiB")
    _clear(cluster)


async def changes(cluster: Cluster, count: int) -> None:
    """From sending a pod's change to the API server to the changed list of candidates."""
    async with _Watched(cluster) as watched:
        await asyncio.to_thread(_pool, cluster)
        await asyncio.to_thread(cluster.create_pod, NAMESPACE, "pod", _address(0), LABELS)
        await watched.until(partial(watched.has, 1))
        waits = []
        for index in range(count):
            is_ready = index % 2 == 1
            begun = time.monotonic()
            await asyncio.to_thread(
                cluster.set_pod_status, NAMESPACE, "pod", _address(0), ready=is_ready
            )
            await watched.until(partial(watched.has, int(is_ready)))
            waits.append(watched.changed_at - begun)
        p50, p99 = statistics.median(waits), sorted(waits)[int(0.99 * len(waits))]
        print(f"{count} pod changes reach the candidates: p50 {p50 * 1e3:.1f} ms", end=", ")
        print(f"p99 {p99 * 1e3:.1f} ms")
    await asyncio.to_thread(_clear, cluster)


async def many(cluster: Cluster, count: int) -> None:
    """A pool whose pods are all there already is created."""

    def create() -> None:
        for index in range(count):
            cluster.create_pod(NAMESPACE, f"pod-{index}", _address(index), LABELS)

    await asyncio.to_thread(create)
    async with _Watched(cluster) as watched:
        longest, lag = 0.0, asyncio.Event()

        async def feel() -> None:
            nonlocal longest
            while not lag.is_set():
                begun = time.monotonic()
                await asyncio.sleep(0.001)
                longest = max(longest, time.monotonic() - begun - 0.001)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feel())
            await asyncio.sleep(1)
            begun = time.monotonic()
            await asyncio.to_thread(_pool, cluster)
            await watched.until(partial(watched.has, count))
            print(f"{count} pods appear at once: {time.monotonic() - begun:.2f} s", end=", ")
            lag.set()
        print(f"the event loop was late by {longest * 1e3:.0f} ms at most")
    await asyncio.to_thread(_clear, cluster)


def rolling(cluster: Cluster, directory: Path) -> int:
    """Two pickers are replaced one by one under load; the exit code is 1 when requests failed."""
    port = _pool(cluster)
    endpoints = [LabEndpoint(f"pod-{index}", _address(index), port) for index in range(10)]
    for endpoint in endpoints:
        cluster.create_pod(NAMESPACE, endpoint.name, endpoint.address, LABELS)
    with _servers(directory, port, 10):
        pickers = [_picker(cluster, directory) for _ in range(2)]
        for process, ports in pickers:
            process.wait_ready(partial(is_serving, ports.health))
        addresses = [ports.grpc for _, ports in pickers]
        with run_envoy(directory, picker_port=addresses, endpoints=endpoints) as envoy:
            result = _load_while(envoy, lambda: _roll(cluster, directory, envoy, pickers))
        for process, _ in pickers:
            process.stop()
    print(f"rolling restart of 2 pickers at {RATE:.0f} requests/s: {result.sent} sent", end=", ")
    print(f"{result.bad} failed {result.problems or ''}")
    return int(result.bad > 0)


def _roll(
    cluster: Cluster, directory: Path, envoy: Envoy, pickers: list[tuple[Process, PickerPorts]]
) -> None:
    for old, _ in list(pickers):
        process, ports = _picker(cluster, directory)
        process.wait_ready(partial(is_serving, ports.health))
        pickers.append((process, ports))
        envoy.set_pickers([ports.grpc for _, ports in pickers])
        old.signal(signal.SIGTERM)
        time.sleep(_LAG_SECONDS)
        del pickers[0]
        envoy.set_pickers([ports.grpc for _, ports in pickers])
        if code := old.wait(30):
            print(f"a picker ended with {code}")


def _load_while(envoy: Envoy, work: Callable[[], None]) -> Result:
    directory = envoy.config.parent
    plan_file, result_file = directory / "plan.json", directory / "result.json"
    plan = Plan(port=envoy.port, requests=int(RATE * 25), seconds=25, rate=RATE)
    plan_file.write_bytes(msgspec.json.encode(plan))
    command = [sys.executable, "-m", "benchmarks.load", str(plan_file), str(result_file)]
    with Process("load", command, log=directory / "load.log", directory=ROOT) as load:
        time.sleep(2)
        work()
        load.wait(60)
    return msgspec.json.decode(result_file.read_bytes(), type=Result)


class _Watched:
    """The part of the picker that follows a cluster, in this process, as it follows one."""

    def __init__(self, cluster: Cluster) -> None:
        self.count = 0
        self.changed_at = 0.0
        self._changed = asyncio.Event()
        datastore = Datastore()
        datastore.subscribe(added=self._added, removed=self._removed)
        self._client = KubeClient(find_loader(cluster.kubeconfig(_token(cluster)), {}))
        identity = PoolIdentity(POOL, NAMESPACE)
        view = PoolView(datastore, identity)
        self._watch = ClusterWatch(self._client, view, identity, clock=Clock(), random=Random())

    async def __aenter__(self) -> _Watched:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._watch.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._client.close()

    def has(self, count: int) -> bool:
        """Whether there are so many endpoints now."""
        return self.count == count

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _added(self, _endpoint: Endpoint) -> None:
        self._count(1)

    def _removed(self, _id: str) -> None:
        self._count(-1)

    def _count(self, step: int) -> None:
        self.count += step
        self.changed_at = time.monotonic()
        self._changed.set()


def _prepare(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-k", str(ROOT / "config" / "crd"))
    cluster.kubectl("wait", "--for=condition=established", "--timeout=60s", "crd", "--all")
    cluster.create_namespace(NAMESPACE)
    rules = [
        {"apiGroups": [group], "resources": [plural], "verbs": ["get", "list", "watch"]}
        for group, plural in (("inference.networking.k8s.io", "inferencepools"), ("", "pods"))
    ]
    group = "rbac.authorization.k8s.io"
    meta = {"name": "picker", "namespace": NAMESPACE}
    cluster.apply(
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}],
            "roleRef": {"kind": "Role", "name": "picker", "apiGroup": group},
        },
    )


def _pool(cluster: Cluster) -> int:
    """Create the pool; its target port is free on this machine."""
    port = free_port()
    cluster.apply(
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": POOL, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": LABELS},
                "targetPorts": [{"number": port}],
                "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
            },
        }
    )
    return port


def _clear(cluster: Cluster) -> None:
    cluster.kubectl("delete", "inferencepool", "--all", "-n", NAMESPACE)
    cluster.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods", {"gracePeriodSeconds": 0})


def _servers(directory: Path, port: int, count: int) -> AbstractContextManager[Process]:
    command = [sys.executable, "-m", "benchmarks.backend", "--port", str(port)]
    command += ["--endpoints", str(count), "--one-port"]
    return running(
        "model-servers",
        command,
        log=directory / f"servers-{port}.log",
        ready=lambda: http.answers(port, "/health", address=_address(0)),
    )


def _picker(cluster: Cluster, directory: Path) -> tuple[Process, PickerPorts]:
    ports = PickerPorts.free()
    arguments = ["--pool-name", POOL, "--pool-namespace", NAMESPACE, "--v", "1"]
    arguments += ["--metrics-endpoint-auth=false"]
    environment = {"KUBECONFIG": cluster.kubeconfig(_token(cluster))}
    return start_picker(directory, arguments, ports=ports, environment=environment), ports


def _token(cluster: Cluster) -> str:
    return cluster.token(NAMESPACE)


def _metrics(ports: PickerPorts) -> str:
    return http.get(ports.metrics, "/metrics")[1]


def _address(index: int) -> str:
    return backend.places(0, index + 1, one_port=True)[-1][0]


if __name__ == "__main__":
    sys.exit(main())
