from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

import epp.discovery.cluster
from epp.core.errors import StartError
from epp.datastore.store import Datastore, Pool
from epp.discovery.cluster import ClusterWatch, watch_cluster
from epp.flags.options import Options, read_options
from epp.flags.validation import OptionsError
from epp.kube.objects import EXPERIMENTAL_GROUP, ROUTER_GROUP, STABLE_GROUP
from tests.fakes import FakeClock
from tests.kube.server import PATH, ApiServer, Hasty, serving, until

POOLS = f"/apis/{STABLE_GROUP}/v1/namespaces/ns/inferencepools"
OLDER_POOLS = f"/apis/{EXPERIMENTAL_GROUP}/v1alpha2/namespaces/ns/inferencepools"
OPTIONAL = [
    f"/apis/{group}/v1alpha2/namespaces/ns/{plural}"
    for group in (EXPERIMENTAL_GROUP, ROUTER_GROUP)
    for plural in ("inferenceobjectives", "inferencemodelrewrites")
]
SELECTOR = {"matchLabels": {"app": "vllm"}}
SPEC = {"selector": SELECTOR, "targetPorts": [{"number": 8000}]}
READY = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
IN_A_POOL = ("--pool-name", "pool", "--pool-namespace", "ns")


class World:
    """An API server with the kinds of a cluster, and a datastore that follows it."""

    def __init__(self, server: ApiServer, kubeconfig: Path) -> None:
        self.server = server
        self.datastore = Datastore()
        self.models: Collection[str] = ()
        self.pools = server.add(POOLS)
        self._kubeconfig = kubeconfig
        kubeconfig.write_text(_kubeconfig(server.url))
        server.put("a", metadata={"labels": {"app": "vllm"}}, status=READY)

    def watch(self, *argv: str, **environ: str) -> ClusterWatch:
        return watch_cluster(
            options(*argv, "--kubeconfig", str(self._kubeconfig)),
            self.datastore,
            environ,
            clock=FakeClock(),
            random=Hasty(),
            on_models=lambda models: setattr(self, "models", models),
        )

    @asynccontextmanager
    async def following(self, *argv: str, **environ: str) -> AsyncIterator[ClusterWatch]:
        watch = self.watch(*(argv or IN_A_POOL), **environ)
        await watch.open()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(watch.run())
            yield watch
            running.cancel()

    @property
    def names(self) -> list[str]:
        return [endpoint.name for endpoint in self.datastore.endpoints()]

    def is_ready(self) -> bool:
        return self.datastore.pool is not None


def _kubeconfig(url: str) -> str:
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


def options(*argv: str) -> Options:
    return read_options(argv, {})[0]


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serving() as server:
        yield World(server, tmp_path / "kubeconfig")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name in ("kubernetes", "controller")]


@pytest.mark.parametrize("status", [403, 404])
async def test_pool_and_pods_alone_make_it_ready(
    world: World, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    for path in OPTIONAL if status == 403 else ():
        world.server.add(path).list_status = 403
    world.pools.put("pool", spec=SPEC)
    async with world.following():
        await until(world.is_ready)
        assert world.datastore.pool == Pool("pool", "ns")
        assert world.names == ["a-rank-0"]
        lines = [text for text in messages(caplog) if text == "Going on without a kind of object"]
        assert len(lines) == 4
        await until(lambda: world.server.asked.count(OPTIONAL[0]) == 3)
    assert set(messages(caplog)) == {"Going on without a kind of object"}
    assert len(messages(caplog)) == 4
    assert {query["fieldSelector"] for query in world.pools.requests} == {"metadata.name=pool"}


async def test_kinds_that_appear_later_count_from_then_on(world: World) -> None:
    world.pools.put("pool", spec=SPEC)
    async with world.following():
        await until(world.is_ready)
        world.server.add(OPTIONAL[2]).put("high", spec={"poolRef": {"name": "pool"}, "priority": 3})
        rules = [{"targets": [{"modelRewrite": "t"}]}]
        rewrite = {"poolRef": {"name": "pool"}, "rules": rules}
        world.server.add(OPTIONAL[1]).put("r", spec=rewrite)
        await until(lambda: world.datastore.priority("high") == 3)
        await until(lambda: world.models == {"t"})


async def test_priorities_are_in_force_when_the_pool_is_there(world: World) -> None:
    world.pools.put("pool", spec=SPEC)
    for path in OPTIONAL:
        world.server.add(path)
    objective = {"poolRef": {"name": "pool"}, "priority": 3}
    world.server.collections[OPTIONAL[0]].put("high", spec=objective)
    priorities: list[int] = []
    world.datastore.subscribe(
        added=lambda _: priorities.append(world.datastore.priority("high")),
        removed=lambda _: None,
    )
    async with world.following():
        await until(world.is_ready)
    assert priorities == [3]


async def test_readiness_does_not_wait_for_long_for_what_is_optional(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epp.discovery.cluster, "OPTIONAL_SECONDS", 0.05)
    world.pools.put("pool", spec=SPEC)
    world.server.add(OPTIONAL[0]).is_mute = True
    async with world.following():
        await until(world.is_ready)


async def test_a_pool_is_waited_for_and_its_kind_too(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    del world.server.collections[POOLS]
    async with world.following():
        await until(lambda: world.server.asked.count(POOLS) == 3)
        assert not world.is_ready()
        world.server.collections[POOLS] = world.pools
        await until(lambda: world.pools.watches)
        assert not world.is_ready()
        world.pools.put("pool", spec=SPEC)
        await until(world.is_ready)
        world.pools.delete("pool")
        await until(lambda: not world.is_ready())
        assert world.names == []
        world.pools.put("pool", spec=SPEC)
        await until(world.is_ready)
        assert world.names == ["a-rank-0"]
    assert len(world.server.lists) == 1


async def test_an_api_server_that_comes_late_is_waited_for(world: World) -> None:
    world.pools.put("pool", spec=SPEC)
    await world.server.stop()
    async with world.following():
        await asyncio.sleep(0.05)
        assert not world.is_ready()
        await world.server.start()
        await until(world.is_ready)


async def test_the_older_group_has_its_own_version(world: World) -> None:
    older = world.server.add(OLDER_POOLS)
    older.put("pool", spec={"selector": {"app": "vllm"}, "targetPortNumber": 8000})
    async with world.following(*IN_A_POOL, "--pool-group", EXPERIMENTAL_GROUP):
        await until(world.is_ready)
        assert world.names == ["a-rank-0"]
        await until(lambda: f"{POOLS}/pool" in world.server.asked)


async def test_a_pool_of_the_same_name_in_the_other_group_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.pools.put("pool", spec=SPEC)
    world.server.add(f"{OLDER_POOLS}/pool")
    async with world.following():
        await until(world.is_ready)
        await until(lambda: len(messages(caplog)) == 5)
    assert messages(caplog)[-1].startswith("There are two InferencePools of this name")


async def test_by_a_selector_only_pods_are_watched(world: World) -> None:
    flags = ["--endpoint-selector", "app in (vllm)", "--endpoint-target-ports", "8000,8001"]
    flags += ["--pool-namespace", "ns"]
    async with world.following(*flags, POD_NAME="my-epp-6d5f8-x2x4z"):
        await until(world.is_ready)
        await until(lambda: world.server.watches)
    assert world.datastore.pool == Pool("my-epp", "ns")
    assert world.names == ["a-rank-0", "a-rank-1"]
    assert set(world.server.asked) == {PATH}


async def test_when_it_is_cancelled_nothing_stays(world: World) -> None:
    world.pools.put("pool", spec=SPEC)
    before = asyncio.all_tasks()
    async with world.following() as watch:
        await until(lambda: world.server.watches and world.pools.watches)
    await until(lambda: not world.server.watches and not world.pools.watches)
    await until(lambda: asyncio.all_tasks() <= before)
    assert watch._client._rest is None


SELECTING = ("--endpoint-target-ports", "8000", "--endpoint-selector")


@pytest.mark.parametrize(
    ("argv", "environ", "problem"),
    [
        ((*SELECTING, "app in"), {}, 'invalid endpoint-selector "app in": expected'),
        ((*SELECTING, "app=x"), {}, "the environment variable POD_NAME must be"),
        ((*SELECTING, "app=x"), {"POD_NAME": "lonely"}, "the environment variable POD_NAME must"),
    ],
)
async def test_what_to_watch_must_be_told(
    world: World, argv: tuple[str, ...], environ: dict[str, str], problem: str
) -> None:
    with pytest.raises(StartError, match=problem):
        world.watch(*argv, **environ)


def test_without_a_name_or_a_cluster_there_is_nothing_to_watch(tmp_path: Path) -> None:
    def make(given: Options) -> Any:
        return watch_cluster(
            given,
            Datastore(),
            {"HOME": str(tmp_path)},
            clock=FakeClock(),
            random=Hasty(),
            on_models=lambda _: None,
        )

    with pytest.raises(OptionsError, match='required "poolName" flag not set'):
        make(options())
    with pytest.raises(StartError, match=r"^Failed to get Kubernetes rest config: no Kubernetes"):
        make(options("--pool-name", "p"))


async def test_credentials_that_cannot_be_used_are_told_at_the_start(world: World) -> None:
    watch = world.watch(*IN_A_POOL)
    world._kubeconfig.write_text("{}")
    with pytest.raises(StartError, match=r"^Failed to get Kubernetes rest config: .*kubeconfig: "):
        await watch.open()


ZONE = "topology.kubernetes.io/zone"


def zones(world: World) -> list[str | None]:
    return [endpoint.labels.get(ZONE) for endpoint in world.datastore.endpoints()]


async def test_nodes_are_watched_once_somebody_wants_their_labels(world: World) -> None:
    world.pools.put("pool", spec=SPEC)
    world.server.put(
        "a", metadata={"labels": {"app": "vllm"}}, spec={"nodeName": "n"}, status=READY
    )
    nodes = world.server.add("/api/v1/nodes")
    nodes.put("n", metadata={"labels": {ZONE: "z"}})
    async with world.following() as watch:
        await until(world.is_ready)
        assert (zones(world), nodes.requests) == ([None], [])
        watch.label_by_nodes({ZONE: ZONE})
        await until(lambda: zones(world) == ["z"])
        nodes.put("n", metadata={"labels": {ZONE: "y"}})
        await until(lambda: zones(world) == ["y"])
        watch.label_by_nodes({})
        assert zones(world) == [None]


async def test_labels_of_nodes_are_there_when_the_pool_is(world: World) -> None:
    world.pools.put("pool", spec=SPEC)
    world.server.put(
        "a", metadata={"labels": {"app": "vllm"}}, spec={"nodeName": "n"}, status=READY
    )
    world.server.add("/api/v1/nodes").put("n", metadata={"labels": {ZONE: "z"}})
    watch = world.watch(*IN_A_POOL)
    watch.label_by_nodes({ZONE: ZONE})
    await watch.open()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(watch.run())
        await until(world.is_ready)
        assert zones(world) == ["z"]
        running.cancel()


async def test_nodes_that_nobody_may_read_keep_nobody_waiting(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.pools.put("pool", spec=SPEC)
    world.server.add("/api/v1/nodes").list_status = 403
    watch = world.watch(*IN_A_POOL)
    watch.label_by_nodes({ZONE: ZONE})
    await watch.open()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(watch.run())
        await until(world.is_ready)
        assert zones(world) == [None]
        running.cancel()
    assert set(messages(caplog)) == {"Going on without a kind of object"}
