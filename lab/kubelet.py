"""What a cluster's controllers and kubelets do with a Deployment, as processes on loopback.

A pod's containers become processes of this machine: the picker's image and the simulated model
server's are the programs of this checkout, with the arguments of the manifest. What a pod gets by
mounting it gets by other ways: ConfigMaps as a folder, the ServiceAccount's token as a kubeconfig.
Each pod has an address of its own in 127.0.0.0/8. Probes are asked as the kubelet asks them.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab import http
from lab.apiserver import Cluster
from lab.picker import PickerPorts, check_health, start_picker
from lab.process import Process, ProcessError

_POLL_SECONDS = 0.05
_READY_SECONDS = 60.0


class Pod:
    """A pod that runs; ``ports`` is what a picker listens on, None for a model server."""

    def __init__(
        self,
        name: str,
        address: str,
        process: Process,
        probe: Callable[[], bool],
        ports: PickerPorts | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.process = process
        self.ports = ports
        self._probe = probe

    def is_ready(self) -> bool:
        """What the readiness probe says; no answer is a no."""
        with contextlib.suppress(OSError):
            return self._probe()
        return False


class Kubelet:
    """Runs the pods of one namespace's Deployments."""

    def __init__(self, cluster: Cluster, namespace: str, directory: Path) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._directory = directory
        self._pods: dict[str, list[Pod]] = {}
        self._count = 0
        chance = random.Random()
        self._network = f"127.{chance.randrange(16, 250)}.{chance.randrange(1, 250)}"

    def __enter__(self) -> Kubelet:
        return self

    def __exit__(self, *_: object) -> None:
        for pods in self._pods.values():
            for pod in pods:
                pod.process.stop()

    def pods(self, deployment: str) -> list[Pod]:
        """Those that run, oldest first."""
        return self._pods.get(deployment, [])

    def deploy(self, deployment: str) -> list[Pod]:
        """Start every replica of a Deployment; they need not be ready yet."""
        for _ in range(self._read(deployment)["spec"]["replicas"]):
            self.start(deployment)
        return self.pods(deployment)

    def start(self, deployment: str) -> Pod:
        """Start one more pod of a Deployment."""
        template = self._read(deployment)["spec"]["template"]
        self._count += 1
        name = f"{deployment}-7d9f8b6c5-p{self._count:04d}"
        address = f"{self._network}.{self._count}"
        [container] = template["spec"]["containers"]
        folder = self._directory / name
        folder.mkdir(parents=True)
        run = self._run_simulator if "inference-sim" in container["image"] else self._run_picker
        pod = run(name, address, template["spec"], folder)
        self._pods.setdefault(deployment, []).append(pod)
        self._cluster.create_pod(
            self._namespace, name, address, template["metadata"]["labels"], ready=False
        )
        return pod

    def wait_ready(self, pod: Pod) -> None:
        """Wait for a pod's probe and report it ready.

        Raises:
            ProcessError: the process ended, or the probe failed for a minute.
        """
        pod.process.wait_ready(pod.is_ready, timeout_seconds=_READY_SECONDS)
        self._cluster.set_pod_status(self._namespace, pod.name, pod.address, ready=True)

    def terminate(self, deployment: str, pod: Pod) -> None:
        """SIGTERM, as the kubelet sends it when a pod was deleted; ``finish`` waits for its end."""
        self._pods[deployment].remove(pod)
        self._cluster.set_pod_status(self._namespace, pod.name, pod.address, ready=False)
        pod.process.signal(signal.SIGTERM)

    def finish(self, pod: Pod, *, grace_seconds: float = 30.0) -> int:
        """The exit code of a terminated pod's process; its object is gone then.

        Raises:
            ProcessError: it outlived its grace period.
        """
        code = pod.process.wait(grace_seconds)
        self._cluster.delete_pod(self._namespace, pod.name)
        return code

    def _read(self, deployment: str) -> Any:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{deployment}"
        return self._cluster.request("GET", path)

    def _run_simulator(self, name: str, address: str, spec: Any, folder: Path) -> Pod:
        [container] = spec["containers"]
        port = container["ports"][0]["containerPort"]
        command = [sys.executable, "-m", "epp", "simulator", *container["args"], "--host", address]
        environment = {"POD_NAME": name, "NAMESPACE": self._namespace, "POD_IP": address}
        process = Process(name, command, log=folder / "log", environment=environment)
        return Pod(name, address, process, lambda: http.answers(port, "/health", address=address))

    def _run_picker(self, name: str, address: str, spec: Any, folder: Path) -> Pod:
        [container] = spec["containers"]
        ports = PickerPorts.free()
        mounts = self._mounts(spec, folder)
        arguments = [_mounted(argument, mounts) for argument in container["args"]]
        account = spec.get("serviceAccountName", "default")
        token = self._cluster.token(self._namespace, account)
        environment = {
            "KUBECONFIG": self._cluster.kubeconfig(token, namespace=self._namespace),
            "POD_NAME": name,
            "NAMESPACE": self._namespace,
        }
        process = start_picker(folder, arguments, ports=ports, environment=environment)
        service = container["readinessProbe"]["grpc"]["service"]
        return Pod(name, address, process, lambda: check_health(ports.health, service), ports)

    def _mounts(self, spec: Any, folder: Path) -> Mapping[str, Path]:
        """Where in a container which folder of this machine is seen."""
        [container] = spec["containers"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        mounts = {}
        for mount in container.get("volumeMounts", ()):
            place = mounts[mount["mountPath"]] = folder / mount["name"]
            place.mkdir()
            source = volumes[mount["name"]]["configMap"]["name"]
            path = f"/api/v1/namespaces/{self._namespace}/configmaps/{source}"
            for key, text in self._cluster.request("GET", path)["data"].items():
                (place / key).write_text(text)
        return mounts


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = 30.0) -> None:
    """Block until something is so; an ``OSError`` counts as not yet.

    Raises:
        ProcessError: it was not in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise ProcessError(f"{what}: not within {seconds:g} s")
        time.sleep(_POLL_SECONDS)


def _mounted(argument: str, mounts: Mapping[str, Path]) -> str:
    for inside, outside in mounts.items():
        if argument.startswith(f"{inside}/"):
            return f"{outside}{argument.removeprefix(inside)}"
    return argument
