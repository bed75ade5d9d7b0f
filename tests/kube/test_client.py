from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kubernetes.aio.client.configuration import Configuration

import epp.kube.client
from epp.kube.client import ApiError, KubeClient, UnreachableError
from epp.kube.credentials import CredentialsError, find_loader
from epp.tls.contexts import METRICS, server_context
from tests.kube.server import PATH, ApiServer, client_of, serving, until
from tests.tls.handshakes import local_pair

GONE = "Kubernetes API server is unreachable; going on with what is known"
BACK = "Kubernetes API server is reachable again"
WATCH = {"resourceVersion": "100"}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serving() as server:
        yield server


@pytest_asyncio.fixture
async def client(server: ApiServer) -> AsyncIterator[KubeClient]:
    async with client_of(server) as client:
        yield client


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "kubernetes"]


async def take(client: KubeClient, count: int) -> list[bytes]:
    """The first lines of a watch."""
    taken: list[bytes] = []
    async with client.watch(PATH, WATCH, seconds=30) as lines:
        async for line in lines:
            taken.append(line)
            if len(taken) == count:
                break
    return taken


async def test_an_answer_is_bytes_and_a_refusal_has_status_and_text(
    server: ApiServer, client: KubeClient
) -> None:
    server.list_answer = b"anything"
    assert await client.get(PATH, {"limit": "1"}) == b"anything"
    assert server.requests[-1] == {"limit": "1"}
    server.list_status = 403
    with pytest.raises(ApiError, match="refused with 403") as refused:
        await client.get(PATH)
    assert refused.value.status == 403
    with pytest.raises(ApiError, match="HTTP 405"):
        await client.send("POST", PATH, {"a": 1})


async def test_lines_arrive_however_they_are_cut(server: ApiServer, client: KubeClient) -> None:
    async def feed() -> None:
        await until(lambda: server.watches)
        for piece in (b"ab", b"c\nde\n\nf", b"g\n", b"x" * 3_000_000 + b"\n"):
            server.version += 1
            server.tell_bytes(piece)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feed())
        lines = await take(client, 5)
    assert lines == [b"abc", b"de", b"", b"fg", b"x" * 3_000_000]
    await until(lambda: not server.watches)  # it was not read to its end, and yet is closed


async def test_a_line_without_end_is_refused(
    server: ApiServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epp.kube.client, "MAX_EVENT_BYTES", 1000)
    server.version += 1
    server.tell_bytes(b"x" * 2000)
    with pytest.raises(ApiError, match="more than 1000 bytes"):
        await take(client, 1)


async def test_a_watch_ends_by_itself_and_a_cut_one_fails(
    server: ApiServer, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.ends_watches_at_once = True
    assert await take(client, 1) == []
    server.ends_watches_at_once = False
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(failure(client))
        await until(lambda: server.watches)
        server.cut()
    assert isinstance(watching.result(), UnreachableError)
    assert messages(caplog) == []  # the API server is not gone: load balancers cut, too
    async with client.watch(PATH, WATCH, seconds=0.2) as lines:
        assert [line async for line in lines] == []


async def failure(client: KubeClient) -> Exception:
    with pytest.raises(UnreachableError) as failed:
        await take(client, 1)
    return failed.value


async def test_one_line_when_the_server_goes_and_one_when_it_is_back(
    server: ApiServer, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await client.get(PATH)
    await server.stop()
    for _ in range(3):
        with pytest.raises(UnreachableError):
            await client.get(PATH)
    assert messages(caplog) == [GONE]
    await server.start()
    await client.get(PATH)
    await client.get(PATH)
    assert messages(caplog) == [GONE, BACK]


async def test_a_server_that_does_not_answer_is_given_up(
    server: ApiServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epp.kube.client, "REQUEST_SECONDS", 0.1)
    server.is_mute = True
    with pytest.raises(UnreachableError):
        await client.get(PATH)
    with pytest.raises(UnreachableError):  # although a watch may last for longer
        await take(client, 1)


def test_a_connection_without_life_is_noticed_within_half_a_minute() -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))
    with epp.kube.client._watched_socket(address) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, count, unconfirmed = (
            made.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        )
    assert idle + every * count == 30
    assert unconfirmed == 30_000


async def test_a_cancelled_watch_leaves_nothing_behind(
    server: ApiServer, client: KubeClient
) -> None:
    before = asyncio.all_tasks()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(take(client, 1))
        await until(lambda: server.watches)
        watching.cancel()
    await until(lambda: not server.watches)
    await until(lambda: asyncio.all_tasks() <= before)


async def test_a_closed_client_asks_no_more(server: ApiServer) -> None:
    async with client_of(server) as client:
        await client.get(PATH)
    with pytest.raises(UnreachableError, match="is closed"):
        await client.get(PATH)


async def test_the_first_request_opens_the_client(server: ApiServer) -> None:
    loads: list[str] = []

    async def load() -> Configuration:
        loads.append(server.url)
        if len(loads) == 1:
            raise CredentialsError("not yet")
        return Configuration(host=server.url)

    client = KubeClient(load)
    with pytest.raises(UnreachableError, match="not yet"):
        await client.get(PATH)
    await asyncio.gather(*(client.get(PATH) for _ in range(6)))
    assert len(loads) == 2
    await client.close()


async def test_refused_credentials_are_loaded_anew_once_for_all_requests(
    server: ApiServer,
) -> None:
    loads: list[str] = []

    async def load() -> Configuration:
        configuration = Configuration(host=server.url)
        loads.append(f"Bearer t{len(loads)}")
        configuration.api_key["BearerToken"] = f"{loads[-1]}\n"
        await asyncio.sleep(0.01)
        return configuration

    client = KubeClient(load)
    await client.open()
    server.good_token = "Bearer t1"
    await asyncio.gather(*(client.get(PATH) for _ in range(6)))
    assert server.tokens[-1] == "Bearer t1"
    assert len(loads) == 2
    server.good_token = "Bearer never"
    with pytest.raises(ApiError) as refused:
        await client.get(PATH)
    assert refused.value.status == 401
    assert len(loads) == 3
    await client.close()


async def test_running_watches_survive_new_credentials(server: ApiServer) -> None:
    async with client_of(server) as client, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(take(client, 1))
        await until(lambda: server.watches)
        await client.open()
        server.put("a")
        assert b'"ADDED"' in (await watching)[0]


async def test_credentials_that_cannot_be_loaded_any_more_are_no_crash(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    problem: list[str] = []

    async def load() -> Configuration:
        if problem:
            raise CredentialsError(problem[0])
        return Configuration(host=server.url)

    client = KubeClient(load)
    await client.open()
    problem.append("the file is away")
    server.good_token = "another"
    for _ in range(2):
        with pytest.raises(ApiError, match="the file is away"):
            await client.get(PATH)
    assert messages(caplog) == []  # the server is there
    await client.close()


async def test_an_emptied_token_file_is_no_crash(tmp_path: Path) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("t")
    ca.write_bytes(local_pair().chain)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    client = KubeClient(find_loader("", environ, token_file=str(token), ca_file=str(ca)))
    await client.open()
    assert client._configuration is not None
    hook: Any = client._configuration.refresh_api_key_hook
    loader = hook.__closure__[0].cell_contents
    loader._token_refresh_period *= 0
    loader._read_token_file()  # from now on it is always to be read again
    token.write_text("")
    with pytest.raises(UnreachableError, match="empty"):
        await client.get(PATH)
    await client.close()


async def test_a_new_certificate_of_the_server_is_learnt_from_the_same_file(
    tmp_path: Path,
) -> None:
    authority = tmp_path / "ca.crt"

    async def load() -> Configuration:
        return Configuration(host=f"https://localhost:{api.port}", ssl_ca_cert=str(authority))

    pairs = [local_pair(), local_pair()]
    contexts = [server_context(pair, METRICS) for pair in pairs]
    api = ApiServer(contexts[0])
    await api.start()
    authority.write_bytes(pairs[0].chain)
    client = KubeClient(load)
    await client.open()
    await client.get(PATH)
    await api.stop()
    api.tls = contexts[1]
    await api.start()
    authority.write_bytes(pairs[1].chain)
    with pytest.raises(UnreachableError):
        await client.get(PATH)
    await client.get(PATH)
    await client.close()
    await api.stop()


async def test_a_pod_asks_the_api_server_without_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    pair = local_pair()
    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("t")
    ca.write_bytes(pair.chain)
    async with serving(server_context(pair, METRICS)) as api:
        environ = {
            "KUBERNETES_SERVICE_HOST": "localhost",
            "KUBERNETES_SERVICE_PORT": str(api.port),
        }
        client = KubeClient(find_loader("", environ, token_file=str(token), ca_file=str(ca)))
        await client.open()
        await client.get(PATH)
        await client.close()
    assert api.tokens == ["bearer t"]


async def test_certificates_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"

    async def load() -> Configuration:
        return Configuration(host="https://127.0.0.1:1", ssl_ca_cert=str(path))

    with pytest.raises(CredentialsError, match="the certificates cannot be used: "):
        await KubeClient(load).open()
    path.write_text("no certificate")
    with pytest.raises(CredentialsError, match="the certificates cannot be used: "):
        await KubeClient(load).open()
