# ruff: noqa: ASYNC240  # the files are small

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from epp.kube.credentials import CredentialsError, find_loader
from tests.tls.handshakes import local_pair

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def kubeconfig(
    path: Path,
    *,
    server: str = "http://one",
    user: Any = "given",
    cluster: dict[str, Any] | None = None,
) -> str:
    """A file with one context; its path."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": "t"} if user == "given" else user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.fixture
def pod(tmp_path: Path) -> dict[str, str]:
    """The files of a pod's service account."""
    token, ca = tmp_path / "pod-token", tmp_path / "pod-ca.crt"
    token.write_text("pod\n")
    ca.write_bytes(local_pair().chain)
    return {"token_file": str(token), "ca_file": str(ca)}


async def host(flag: str, environ: dict[str, str], pod: dict[str, str]) -> str:
    return str((await find_loader(flag, environ, **pod)()).host)


async def test_places_are_tried_in_their_order(tmp_path: Path, pod: dict[str, str]) -> None:
    flag = kubeconfig(tmp_path / "flag", server="http://flag")
    variable = kubeconfig(tmp_path / "variable", server="http://variable")
    kubeconfig(tmp_path / ".kube" / "config", server="http://home")
    everything = {"KUBECONFIG": variable, "HOME": str(tmp_path), **POD}
    assert await host(flag, everything, pod) == "http://flag"
    assert await host("", everything, pod) == "http://variable"
    everything["KUBECONFIG"] = ""
    assert await host("", everything, pod) == "https://10.0.0.1:443"
    assert await host("", {"HOME": str(tmp_path)}, pod) == "http://home"


def test_without_any_the_places_are_told(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"no --kubeconfig, no \$KUBECONFIG, .*config"):
        find_loader("", {"HOME": str(tmp_path)})


async def test_the_variable_may_name_several_files(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "a", server="http://a")
    paths = os.pathsep.join([str(tmp_path / "none"), first, kubeconfig(tmp_path / "b")])
    assert await host("", {"KUBECONFIG": paths}, {}) == "http://a"


async def test_a_pod_has_its_token_and_nothing_is_written(
    tmp_path: Path, pod: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    load = find_loader("", {**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"}, **pod)
    configuration = await load()
    assert configuration.host == "https://[fd00::1]:443"
    assert configuration.ssl_ca_cert == pod["ca_file"]
    token = await configuration.get_api_key_with_prefix("BearerToken")
    assert token is not None
    assert token.split() == ["bearer", "pod"]
    Path(pod["token_file"]).write_text("rotated")
    assert (await load()).api_key["BearerToken"] == "bearer rotated"


async def test_a_pod_reads_its_token_again_each_minute(pod: dict[str, str]) -> None:
    configuration = await find_loader("", POD, **pod)()
    Path(pod["token_file"]).write_text("rotated")
    token = await configuration.get_api_key_with_prefix("BearerToken")
    assert token is not None
    assert "pod" in token
    hook: Any = configuration.refresh_api_key_hook
    loader = hook.__closure__[0].cell_contents
    loader.token_expires_at -= loader._token_refresh_period
    assert loader._token_refresh_period.total_seconds() == 60
    assert await configuration.get_api_key_with_prefix("BearerToken") == "bearer rotated"


@pytest.mark.parametrize("missing", ["token_file", "ca_file"])
@pytest.mark.parametrize("content", [None, ""])
async def test_a_pod_without_its_files_is_told(
    pod: dict[str, str], missing: str, content: str | None
) -> None:
    path = Path(pod[missing])
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(CredentialsError, match=r"^the pod's service account: .+"):
        await find_loader("", POD, **pod)()


async def test_a_token_file_and_a_command_are_read_at_each_load(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    path = kubeconfig(tmp_path / "k", user={"tokenFile": "token"})
    load = find_loader(path, {})
    assert (await load()).api_key["BearerToken"] == "Bearer one"
    token.write_text("two")
    assert (await load()).api_key["BearerToken"] == "Bearer two"
    answer = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
        f' "status": {{"token": "\'$(cat {token})\'"}}}}'
    )
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", f"echo '{answer}'"],
    }
    load = find_loader(kubeconfig(tmp_path / "e", user={"exec": command}), {})
    assert (await load()).api_key["BearerToken"] == "Bearer two"
    token.write_text("three")
    assert (await load()).api_key["BearerToken"] == "Bearer three"


async def test_certificates_may_be_in_the_file(tmp_path: Path) -> None:
    pair = local_pair()
    chain, key = (base64.b64encode(part).decode() for part in (pair.chain, pair.key))
    path = kubeconfig(
        tmp_path / "k",
        server="https://one",
        user={"client-certificate-data": chain, "client-key-data": key},
        cluster={"certificate-authority-data": chain, "tls-server-name": "n"},
    )
    configuration = await find_loader(path, {})()
    files = [configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file]
    assert [Path(str(file)).read_bytes() for file in files] == [pair.chain, pair.chain, pair.key]
    assert Path(str(configuration.key_file)).stat().st_mode & 0o077 == 0
    assert configuration.tls_server_name == "n"


CONTEXT = "{clusters: [{name: c, cluster: {server: 'http://a'}}], users: [], current-context: x, "


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "text",
        "a: [",
        "\x00",
        "{}",
        "clusters: 5",
        "clusters: [5]",
        "{clusters: [], users: [], contexts: [], current-context: x}",
        CONTEXT + "contexts: [{name: x, context: c}]}",
        CONTEXT + "contexts: [{name: x}]}",
        CONTEXT.replace("[]", "[{name: u, user: me}]")
        + "contexts: [{name: x, context: {cluster: c, user: u}}]}",
        CONTEXT + "contexts: [{context: {cluster: c}}]}",
        CONTEXT + "contexts: [{name: x, context: {cluster: other}}]}",
        "contexts: \xff",
    ],
)
async def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CredentialsError) as refused:
        await find_loader(str(path), {})()
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) > len(f"{path}: ") + 10


async def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"no such file$"):
        await find_loader(str(tmp_path / "none"), {})()


FAILING = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}


@pytest.mark.parametrize("user", [{"exec": FAILING}, {"tokenFile": "empty"}, {"username": "u"}])
async def test_a_user_without_credentials_is_told_and_not_taken_for_nobody(
    tmp_path: Path, user: dict[str, Any]
) -> None:
    (tmp_path / "empty").write_text("")
    path = kubeconfig(tmp_path / "k", user=user)
    with pytest.raises(CredentialsError, match="the context's user gives no credentials"):
        await find_loader(path, {})()


async def test_one_may_be_nobody(tmp_path: Path) -> None:
    configuration = await find_loader(kubeconfig(tmp_path / "k", user={}), {})()
    assert configuration.api_key == {}
