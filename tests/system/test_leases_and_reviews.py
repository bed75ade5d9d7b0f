"""What a real API server says to those who share a lease, and to those who read metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import pytest

from epp.core.clock import Clock
from epp.datastore.store import Datastore
from epp.kube.client import KubeClient
from epp.kube.credentials import find_loader
from epp.kube.lease import Elector, LeaseLostError, Timing, lease_name, make_identity
from epp.kube.reviews import Reviews
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.server import MetricsServer
from lab.apiserver import Cluster, missing, run_cluster

pytestmark = pytest.mark.system

LEASE = lease_name("ns", "pool")
PATH = f"/apis/coordination.k8s.io/v1/namespaces/ns/leases/{LEASE}"
RBAC = "rbac.authorization.k8s.io"
TIMING = Timing(lease_seconds=6, renew_seconds=4.0, retry_seconds=0.3, request_seconds=2.0)
LEASE_RIGHTS = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": [verb]}
    for verb in ("get", "create", "update")
]
TOKEN_RIGHT = {
    "apiGroups": ["authentication.k8s.io"],
    "resources": ["tokenreviews"],
    "verbs": ["create"],
}
ACCESS_RIGHT = {
    "apiGroups": ["authorization.k8s.io"],
    "resources": ["subjectaccessreviews"],
    "verbs": ["create"],
}
SCRAPE_RIGHT = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if problem := missing():
        pytest.skip(problem)
    with run_cluster(tmp_path_factory.mktemp("cluster")) as started:
        started.create_namespace("ns")
        yield started


def make_account(cluster: Cluster, name: str, rights: Sequence[dict[str, Any]] = ()) -> str:
    """The token of a ServiceAccount with these rights, everywhere."""
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": "ns"},
        },
    )
    if rights:
        grant(cluster, name, rights)
    return cluster.token("ns", name)


def grant(cluster: Cluster, account: str, rights: Sequence[dict[str, Any]]) -> None:
    cluster.apply(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": account},
            "rules": list(rights),
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": account},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "ns"}],
        },
    )


@asynccontextmanager
async def connected(cluster: Cluster, token: str) -> AsyncIterator[KubeClient]:
    client = KubeClient(find_loader(cluster.kubeconfig(token), {}))
    await client.open()
    yield client
    await client.close()


class Contender:
    """One process, as far as the lease is concerned."""

    def __init__(self, client: KubeClient, tasks: asyncio.TaskGroup) -> None:
        self.identity = make_identity()
        self.lost = ""
        self.elector = Elector(
            client,
            "ns",
            LEASE,
            identity=self.identity,
            clock=Clock(),
            random=Random(),
            timing=TIMING,
        )
        self._task = tasks.create_task(self._run())

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        try:
            await self.elector.run()
        except LeaseLostError as error:
            self.lost = str(error)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


async def spec(cluster: Cluster) -> dict[str, Any]:
    lease = await asyncio.to_thread(cluster.request, "GET", PATH)
    found: dict[str, Any] = lease["spec"]
    return found


@pytest.fixture
def no_lease(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.kubectl("delete", "lease", "--namespace", "ns", "--all")


@pytest.mark.usefixtures("no_lease")
async def test_the_lease_goes_from_one_to_the_next_after_a_release_and_after_a_crash(
    cluster: Cluster,
) -> None:
    token = make_account(cluster, "electors", LEASE_RIGHTS)
    async with connected(cluster, token) as client, asyncio.TaskGroup() as tasks:
        first = Contender(client, tasks)
        await until(lambda: first.elector.is_leader)
        found = await spec(cluster)
        assert found["holderIdentity"] == first.identity
        assert (found["leaseDurationSeconds"], found["leaseTransitions"]) == (6, 0)

        second = Contender(client, tasks)
        await asyncio.sleep(1)
        assert (first.elector.is_leader, second.elector.is_leader) == (True, False)

        first.stop()
        await first.elector.release()
        released = await spec(cluster)
        assert (released["holderIdentity"], released["leaseDurationSeconds"]) in (
            ("", 1),
            (second.identity, 6),
        )
        await until(lambda: second.elector.is_leader)
        found = await spec(cluster)
        assert (found["holderIdentity"], found["leaseTransitions"]) == (second.identity, 1)

        third = Contender(client, tasks)
        await asyncio.sleep(1)
        second.stop()
        await until(lambda: third.elector.is_leader)
        assert not second.elector.is_leader
        found = await spec(cluster)
        assert (found["holderIdentity"], found["leaseTransitions"]) == (third.identity, 2)

        cluster.patch(PATH, {"spec": {"holderIdentity": "thief"}})
        await until(lambda: bool(third.lost))
        assert third.lost == "leader election lost: thief holds the lease"


@pytest.mark.usefixtures("no_lease")
async def test_of_many_who_begin_together_one_leads(cluster: Cluster) -> None:
    token = make_account(cluster, "electors", LEASE_RIGHTS)
    async with connected(cluster, token) as client, asyncio.TaskGroup() as tasks:
        contenders = [Contender(client, tasks) for _ in range(10)]
        await until(lambda: any(each.elector.is_leader for each in contenders))
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert sum(each.elector.is_leader for each in contenders) == 1
        for each in contenders:
            each.stop()


@pytest.mark.usefixtures("no_lease")
async def test_without_rights_nobody_leads_until_they_are_given(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    token = make_account(cluster, "powerless")
    async with connected(cluster, token) as client, asyncio.TaskGroup() as tasks:
        contender = Contender(client, tasks)
        await asyncio.sleep(2)
        assert not contender.elector.is_leader
        (record,) = caplog.records
        fields = record.__dict__["fields"]
        assert fields["needs"] == "get, create, update on leases.coordination.k8s.io"
        assert 'User "system:serviceaccount:ns:powerless" cannot get' in fields["error"]
        await asyncio.to_thread(grant, cluster, "powerless", LEASE_RIGHTS)
        await until(lambda: contender.elector.is_leader)
        contender.stop()


@pytest.mark.usefixtures("no_lease")
async def test_a_leader_whose_api_server_is_gone_is_lost(cluster: Cluster) -> None:
    token = make_account(cluster, "electors", LEASE_RIGHTS)
    async with connected(cluster, token) as client, asyncio.TaskGroup() as tasks:
        leader = Contender(client, tasks)
        await until(lambda: leader.elector.is_leader)
        await asyncio.to_thread(cluster.stop)
        try:
            await until(lambda: bool(leader.lost))
        finally:
            cluster.start()  # in this thread, with whose end it ends
    assert leader.lost == "leader election lost: the lease could not be renewed within 4 s"
    assert not leader.elector.is_leader


@asynccontextmanager
async def metrics_server(cluster: Cluster, token: str) -> AsyncIterator[aiohttp.ClientSession]:
    """The metrics port of a picker that is this token's bearer."""
    async with connected(cluster, token) as client:
        clock = Clock()
        server = MetricsServer(
            "127.0.0.1",
            0,
            MetricsProbe(Datastore()).registry,
            DecisionLog(clock),
            authorize=Reviews(client, clock=clock, random=Random()),
        )
        await server.start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield session
        await server.stop()


async def get(
    session: aiohttp.ClientSession, path: str, token: str, method: str = "GET"
) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.request(method, path, headers=headers) as answer:
        text = await answer.text()
        return answer.status, "a page" if answer.status == 200 else text


async def test_metrics_are_for_those_whom_the_cluster_allows(cluster: Cluster) -> None:
    picker = make_account(cluster, "picker", [TOKEN_RIGHT, ACCESS_RIGHT])
    scraper = make_account(cluster, "scraper", [SCRAPE_RIGHT])
    nobody = make_account(cluster, "nobody")
    denied = "Authorization denied for user system:serviceaccount:ns:{}\n".format
    async with metrics_server(cluster, picker) as session:
        for _ in range(2):
            assert await get(session, "/metrics", "") == (401, "Unauthorized\n")
            assert await get(session, "/metrics", "made-up") == (401, "Unauthorized\n")
            assert await get(session, "/metrics", nobody) == (403, denied("nobody"))
            assert await get(session, "/metrics", scraper) == (200, "a page")
            assert await get(session, "/metrics", scraper, "POST") == (403, denied("scraper"))
            assert await get(session, "/debug/decisions", scraper) == (403, denied("scraper"))
            assert await get(session, "/nothing", scraper) == (403, denied("scraper"))
            assert await get(session, "/nothing", "") == (401, "Unauthorized\n")


@pytest.mark.parametrize(
    ("account", "rights", "text", "needs"),
    [
        (
            "blind",
            (),
            "Authentication failed\n",
            "create tokenreviews.authentication.k8s.io",
        ),
        (
            "one-eyed",
            (TOKEN_RIGHT,),
            "Authorization for user system:serviceaccount:ns:scraper failed\n",
            "create subjectaccessreviews.authorization.k8s.io",
        ),
    ],
)
async def test_a_picker_without_rights_refuses_and_says_once_which_it_lacks(
    account: str,
    rights: Sequence[dict[str, Any]],
    text: str,
    needs: str,
    cluster: Cluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    picker = make_account(cluster, account, rights)
    scraper = make_account(cluster, "scraper", [SCRAPE_RIGHT])
    async with metrics_server(cluster, picker) as session:
        for _ in range(3):
            assert await get(session, "/metrics", scraper) == (500, text)
        assert await get(session, "/metrics", "") == (401, "Unauthorized\n")
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.__dict__["fields"]["needs"] == needs
