"""A real kube-apiserver with its etcd on loopback, RBAC switched on.

The binaries are looked for where the ecosystem's own test tools look: in ``$KUBEBUILDER_ASSETS``.
There is no controller manager, no scheduler and no kubelet: what those would do, creating a
namespace's ServiceAccount or making a pod ready, ``Cluster`` does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.ports import free_ports
from lab.process import Process, ProcessError, running

ASSETS = "KUBEBUILDER_ASSETS"
BINARIES = ("etcd", "kube-apiserver", "kubectl")
ISSUER = "https://kubernetes.default.svc"
_ADMIN_TOKEN = "admintoken"
_REQUEST_SECONDS = 30.0
_MERGE_PATCH = "application/merge-patch+json"


class ApiError(RuntimeError):
    """The API server refused a request; ``status`` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


def missing() -> str:
    """Why there is no API server to be had; empty when there is one."""
    folder = os.environ.get(ASSETS)
    if not folder:
        return f"${ASSETS} is not set: `make envtest` tells how to get etcd and kube-apiserver"
    absent = [name for name in BINARIES if not (Path(folder) / name).is_file()]
    return f"${ASSETS}={folder} has no {', '.join(absent)}" if absent else ""


def binary(name: str) -> Path:
    """One of ``BINARIES``.

    Raises:
        FileNotFoundError: there is none.
    """
    problem = missing()
    if problem:
        raise FileNotFoundError(problem)
    return Path(os.environ[ASSETS]) / name


class Cluster:
    """What a test does with the API server, as its administrator."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.certificate = directory / "certs" / "apiserver.crt"
        self._server: Process | None = None
        self._command: Sequence[str | Path] = ()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        """Whether the API server says that it is ready; ``OSError`` passes through."""
        try:
            self.request("GET", "/readyz")
        except ApiError:
            return False
        return True

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        token: str = _ADMIN_TOKEN,
    ) -> Any:
        """The JSON that the API server answers, or its text.

        Raises:
            ApiError: the answer is an error.
            OSError: there is none.
        """
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=_REQUEST_SECONDS, context=self._tls()
        )
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
        try:
            connection.request(
                method, path, json.dumps(body) if body is not None else None, headers
            )
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status >= 300:
            raise ApiError(response.status, text)
        is_json = "json" in (response.getheader("Content-Type") or "")
        return json.loads(text) if is_json else text

    def patch(self, path: str, change: Any) -> Any:
        """Merge ``change`` into the object at ``path``."""
        return self.request("PATCH", path, change, content_type=_MERGE_PATCH)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as the administrator, with ``text`` on its standard input; its output.

        Raises:
            ProcessError: it failed.
        """
        done = subprocess.run(
            [binary("kubectl"), "--kubeconfig", self.kubeconfig(), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "HOME": str(self.directory)},
        )
        if done.returncode != 0:
            raise ProcessError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def apply(self, *documents: str | Path | Mapping[str, Any]) -> None:
        """``kubectl apply`` texts, files or objects."""
        texts = []
        for document in documents:
            if isinstance(document, Path):
                document = document.read_text()
            texts.append(document if isinstance(document, str) else yaml.safe_dump(document))
        self.kubectl("apply", "-f", "-", text="\n---\n".join(texts))

    def kubeconfig(self, token: str = _ADMIN_TOKEN, *, namespace: str = "default") -> str:
        """A kubeconfig file for the bearer of ``token``."""
        path = self.directory / f"kubeconfig-{abs(hash((token, namespace)))}"
        if not path.exists():
            cluster = {"server": self.url, "certificate-authority": str(self.certificate)}
            context = {"cluster": "lab", "user": "lab", "namespace": namespace}
            document = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "lab", "cluster": cluster}],
                "users": [{"name": "lab", "user": {"token": token}}],
                "contexts": [{"name": "lab", "context": context}],
                "current-context": "lab",
            }
            path.write_text(yaml.safe_dump(document))
        return str(path)

    def create_namespace(self, name: str) -> None:
        """A namespace with the ServiceAccount that every namespace has."""
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            },
        )

    def token(self, namespace: str, account: str = "default") -> str:
        """A token of a ServiceAccount, valid for an hour."""
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": 3600},
            },
        )
        return str(answer["status"]["token"])

    def create_pod(
        self,
        namespace: str,
        name: str,
        address: str,
        labels: Mapping[str, str],
        *,
        annotations: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> None:
        """A pod as it is when its kubelet has started it."""
        self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/pods",
            {
                "metadata": {
                    "name": name,
                    "labels": dict(labels),
                    "annotations": dict(annotations or {}),
                },
                "spec": {"containers": [{"name": "server", "image": "none"}]},
            },
        )
        self.set_pod_status(namespace, name, address, ready=ready)

    def set_pod_status(self, namespace: str, name: str, address: str, *, ready: bool) -> None:
        """What the kubelet reports."""
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [condition],
        }
        self.patch(f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": status})

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once, as no kubelet would confirm its end."""
        self.request(
            "DELETE",
            f"/api/v1/namespaces/{namespace}/pods/{name}",
            {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0},
        )

    def stop(self) -> None:
        """End the API server; etcd keeps what it knows."""
        assert self._server is not None
        self._server.stop()

    def start(self) -> None:
        """Start the API server, for the first time or again."""
        self._server = Process(
            "kube-apiserver", self._command, log=self.directory / "apiserver.log"
        )
        self._server.wait_ready(self.is_ready, timeout_seconds=60.0)

    def prepare(self, etcd_port: int) -> None:
        """Settle how the API server is started."""
        signing_key = self.directory / "sa.key"
        signing_key.write_bytes(_private_key())
        tokens = self.directory / "tokens.csv"
        tokens.write_text(f"{_ADMIN_TOKEN},admin,admin,system:masters\n")
        self._command = [
            binary("kube-apiserver"),
            *("--etcd-servers", f"http://127.0.0.1:{etcd_port}"),
            *("--secure-port", str(self.port), "--bind-address", "127.0.0.1"),
            *("--cert-dir", self.certificate.parent),
            *("--service-account-key-file", signing_key),
            *("--service-account-signing-key-file", signing_key),
            *("--service-account-issuer", ISSUER, "--api-audiences", ISSUER),
            *("--token-auth-file", tokens, "--authorization-mode", "RBAC"),
            *("--service-cluster-ip-range", "10.0.0.0/24"),
            # What these wait for is done by controllers, which are not here.
            "--disable-admission-plugins",
            "ServiceAccount,TaintNodesByCondition,DefaultStorageClass",
            "--allow-privileged=true",
        ]

    def _tls(self) -> ssl.SSLContext:
        if self.certificate.exists():
            return ssl.create_default_context(cafile=str(self.certificate))
        raise OSError("the API server has no certificate yet")


@contextlib.contextmanager
def run_cluster(directory: Path) -> Iterator[Cluster]:
    """Start etcd and an API server, and hand them over when they are ready.

    Raises:
        FileNotFoundError: the binaries are not there.
        ProcessError: one of them ended early or was not ready in time.
    """
    etcd_port, peer_port, port = free_ports(3)
    cluster = Cluster(directory, port)
    directory.mkdir(parents=True, exist_ok=True)
    cluster.prepare(etcd_port)
    client = f"http://127.0.0.1:{etcd_port}"
    etcd: list[str | Path] = [binary("etcd"), "--data-dir", directory / "etcd"]
    etcd += ["--listen-client-urls", client, "--advertise-client-urls", client]
    etcd += ["--listen-peer-urls", f"http://127.0.0.1:{peer_port}", "--unsafe-no-fsync"]
    with running("etcd", etcd, log=directory / "etcd.log", ready=lambda: _listens(etcd_port)):
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


def _listens(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except http.client.HTTPException:
        return False
    finally:
        connection.close()


def _private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
