from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest
import pytest_asyncio

import epp.kube.reflector
from epp.core.clock import Clock
from epp.kube.client import KubeClient
from epp.kube.objects import Pod
from epp.kube.reflector import (
    FIRST_WAIT_SECONDS,
    LONGEST_ABSENCE_SECONDS,
    LONGEST_WAIT_SECONDS,
    Kind,
    Reflector,
)
from tests.fakes import FakeClock
from tests.kube.server import PATH, ApiServer, Hasty, client_of, serving, until

LOST = "Kubernetes API server is unreachable; going on with what is known"
BACK = "Kubernetes API server is reachable again"


class Seen:
    """What a reflector told: addresses by name, and the names of each change."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.changes: list[list[str]] = []

    def changed(self, pods: Mapping[str, Pod], names: Collection[str]) -> None:
        self.changes.append(sorted(names))
        self.addresses = {name: pod.status.pod_ip for name, pod in pods.items()}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serving() as server:
        yield server


@pytest_asyncio.fixture
async def client(server: ApiServer) -> AsyncIterator[KubeClient]:
    async with client_of(server) as client:
        yield client


@pytest.fixture
def seen() -> Seen:
    return Seen()


@asynccontextmanager
async def reflecting(
    client: KubeClient,
    seen: Seen,
    *,
    is_optional: bool = False,
    clock: Clock | None = None,
    random: Random | None = None,
) -> AsyncIterator[Reflector[Pod]]:
    """A reflector of pods that runs; the clock stands still, so that every watch is a short one."""
    kind = Kind("*v1.Pod", PATH, Pod, is_optional=is_optional)
    reflector = Reflector(
        client, kind, seen.changed, clock=clock or FakeClock(), random=random or Hasty()
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(reflector.run())
        yield reflector
        running.cancel()


def pod_at(server: ApiServer, name: str, address: str) -> None:
    server.put(name, status={"podIP": address})


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "kubernetes"]


async def test_what_is_there_is_listed_and_what_changes_is_told(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    pod_at(server, "a", "10.0.0.1")
    pod_at(server, "b", "10.0.0.2")
    async with reflecting(client, seen) as reflector:
        await reflector.tried.wait()
        assert seen.addresses == {"a": "10.0.0.1", "b": "10.0.0.2"}
        pod_at(server, "c", "10.0.0.3")
        await until(lambda: "c" in seen.addresses)
        pod_at(server, "a", "10.0.0.9")
        await until(lambda: seen.addresses["a"] == "10.0.0.9")
        server.delete("b")
        await until(lambda: "b" not in seen.addresses)
    assert seen.changes == [["a", "b"], ["c"], ["a"], ["b"]]
    assert len(server.lists) == 1


async def test_an_empty_list_is_told_too(server: ApiServer, client: KubeClient, seen: Seen) -> None:
    async with reflecting(client, seen) as reflector:
        await reflector.tried.wait()
    assert seen.changes == [[]]


async def test_a_long_list_comes_in_pages(
    server: ApiServer, client: KubeClient, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epp.kube.reflector, "PAGE_ITEMS", 2)
    for name in "abcde":
        pod_at(server, name, f"10.0.0.{ord(name)}")
    async with reflecting(client, seen) as reflector:
        await reflector.tried.wait()
    assert seen.changes == [list("abcde")]
    assert [query.get("continue") for query in server.lists] == [None, "2", "4"]


async def test_a_watch_is_resumed_where_it_was(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    async with reflecting(client, seen):
        for number in range(3):
            await until(lambda: server.watches)
            pod_at(server, "a", f"10.0.0.{number}")
            await until(lambda: len(seen.changes) == len(server.history) + 1)
            server.cut()
            await until(lambda: not server.watches)
    assert len(server.lists) == 1
    assert server.watched_from[:3] == [100, 101, 102]


async def test_a_bookmark_moves_the_place_to_resume_at(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    async with reflecting(client, seen) as reflector:
        await until(lambda: server.watches)
        server.version = 500
        server.bookmark()
        await until(lambda: reflector._version == "501")
        server.forget_history()
        server.cut()
        await until(lambda: len(server.watched_from) == 2)
    assert server.watched_from == [100, 501]
    assert len(server.lists) == 1


@pytest.mark.parametrize("is_told_late", [False, True])
async def test_a_version_that_is_gone_costs_a_new_list(
    server: ApiServer,
    client: KubeClient,
    seen: Seen,
    caplog: pytest.LogCaptureFixture,
    is_told_late: bool,
) -> None:
    pod_at(server, "a", "10.0.0.1")
    pod_at(server, "b", "10.0.0.2")
    async with reflecting(client, seen):
        await until(lambda: server.watches)
        if is_told_late:
            server.fail(410)
        else:
            await server.stop()
            server.delete("a")
            pod_at(server, "c", "10.0.0.3")
            server.forget_history()
            await server.start()
            await until(lambda: seen.addresses == {"b": "10.0.0.2", "c": "10.0.0.3"})
            assert seen.changes[-1] == ["a", "b", "c"]
        await until(lambda: len(server.lists) == 2)
    assert "Failed to watch" not in messages(caplog)


async def test_a_server_that_is_away_costs_nothing_that_is_known(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pod_at(server, "a", "10.0.0.1")
    async with reflecting(client, seen):
        await until(lambda: server.watches)
        await server.stop()
        await until(lambda: LOST in messages(caplog))
        await asyncio.sleep(0.1)
        assert seen.addresses == {"a": "10.0.0.1"}
        pod_at(server, "a", "10.0.0.2")
        await server.start()
        await until(lambda: seen.addresses == {"a": "10.0.0.2"})
    assert messages(caplog) == [LOST, BACK]
    assert len(server.lists) == 1


@pytest.mark.parametrize("status", [401, 429, 500, 503, 504])
async def test_a_server_that_is_not_well_costs_no_new_list(
    server: ApiServer,
    client: KubeClient,
    seen: Seen,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    caplog.set_level(logging.INFO)
    async with reflecting(client, seen):
        await until(lambda: server.watches)
        server.watch_status = status
        server.cut()
        count = len(server.requests)
        await until(lambda: len(server.requests) > count + 4)
        assert len([text for text in messages(caplog) if text == "Failed to watch"]) == 1
        server.watch_status = 200
        await until(lambda: messages(caplog) == ["Failed to watch", "Watching again"])
    assert len(server.lists) == 1


async def test_a_watch_that_is_never_allowed_is_told_once_and_not_asked_for_in_haste(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.watch_status = 403
    pod_at(server, "a", "10.0.0.1")
    times = await moments(server, client, seen, 10)
    assert seen.addresses == {"a": "10.0.0.1"}
    assert messages(caplog) == ["Failed to watch"]
    assert_growing(times[1::2])


async def moments(server: ApiServer, client: KubeClient, seen: Seen, count: int) -> list[float]:
    """When the first requests came, in seconds."""
    async with reflecting(client, seen):
        await until(lambda: len(server.requests) >= count)
    return server.moments[:count]


def assert_growing(times: Sequence[float]) -> None:
    """Each wait is twice the one before, up to the longest."""
    for turn, (before, after) in enumerate(pairwise(times)):
        assert after - before >= 0.0099 * min(FIRST_WAIT_SECONDS * 2**turn, LONGEST_WAIT_SECONDS)


async def test_a_watch_that_ends_at_once_does_not_spin(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    server.ends_watches_at_once = True
    times = await moments(server, client, seen, 9)
    assert_growing(times[1:])
    assert len(server.lists) == 1
    assert messages(caplog) == []


async def test_a_watch_whose_version_is_always_gone_does_not_spin(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    server.oldest = 10**9
    times = await moments(server, client, seen, 14)
    assert_growing(times[1::2])


async def test_waits_grow_to_their_limits_and_shrink_when_a_watch_has_lasted(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    clock = FakeClock()
    async with reflecting(client, seen, clock=clock) as reflector:
        await until(lambda: server.watches)
        server.watch_status = 400
        server.cut()
        await until(lambda: reflector._wait_seconds == 2 * LONGEST_WAIT_SECONDS)
        server.watch_status = server.list_status = 503
        await until(lambda: reflector._wait_seconds == 2 * LONGEST_ABSENCE_SECONDS)
        server.watch_status = server.list_status = 200
        await until(lambda: server.watches)
        assert reflector._wait_seconds == 2 * LONGEST_ABSENCE_SECONDS
        clock.advance(2)
        server.cut()
        await until(lambda: reflector._wait_seconds == 2 * FIRST_WAIT_SECONDS)


async def test_a_long_absence_does_not_delay_what_comes_after_it(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    async with reflecting(client, seen) as reflector:
        await until(lambda: server.watches)
        await server.stop()
        await until(lambda: reflector._wait_seconds == 2 * LONGEST_ABSENCE_SECONDS)
        pod_at(server, "a", "10.0.0.1")
        server.forget_history()
        await server.start()
        await until(lambda: "a" in seen.addresses)
        assert reflector._wait_seconds == 2 * FIRST_WAIT_SECONDS


@pytest.mark.parametrize("status", [403, 404])
async def test_an_optional_kind_may_be_absent_and_appear(
    server: ApiServer,
    client: KubeClient,
    seen: Seen,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    caplog.set_level(logging.INFO)
    server.list_status = status
    async with reflecting(client, seen, is_optional=True) as reflector:
        await reflector.tried.wait()
        await until(lambda: len(server.requests) == 3)
        assert messages(caplog) == ["Going on without a kind of object"]
        assert reflector._wait_seconds == 2 * LONGEST_WAIT_SECONDS
        server.list_status = 200
        pod_at(server, "a", "10.0.0.1")
        await until(lambda: seen.addresses)
        await until(lambda: "Watching again" in messages(caplog))
    assert messages(caplog) == ["Going on without a kind of object", "Watching again"]


async def test_objects_go_with_their_kind_and_stay_when_forbidden(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    pod_at(server, "a", "10.0.0.1")
    async with reflecting(client, seen, is_optional=True):
        await until(lambda: server.watches)
        server.list_status = server.watch_status = 403
        server.cut()
        count = len(server.lists)
        await until(lambda: len(server.lists) == count + 2)
        assert seen.addresses == {"a": "10.0.0.1"}
        server.list_status = 404
        await until(lambda: seen.addresses == {})
    assert seen.changes == [["a"], ["a"]]


async def test_a_needed_kind_is_waited_for(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    server.list_status = 404
    async with reflecting(client, seen) as reflector:
        await until(lambda: len(server.requests) == 3)
        assert not reflector.tried.is_set()
        server.list_status = 200
        await reflector.tried.wait()
    assert messages(caplog) == ["Failed to watch"]


async def test_an_optional_kind_is_not_tried_while_nobody_answers(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    await server.stop()
    async with reflecting(client, seen, is_optional=True) as reflector:
        await until(lambda: messages(caplog))
        await asyncio.sleep(0.05)
        assert not reflector.tried.is_set()
        await server.start()
        await reflector.tried.wait()


BROKEN = "Ignoring an object that cannot be read"


async def test_a_broken_object_costs_a_line_and_keeps_its_last_good_state(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    server.put("never", status={"podIP": 5})
    pod_at(server, "a", "10.0.0.1")
    async with reflecting(client, seen):
        await until(lambda: seen.addresses == {"a": "10.0.0.1"})
        server.put("a", status={"podIP": []})
        server.put("b", status=5)
        pod_at(server, "c", "10.0.0.3")
        await until(lambda: "c" in seen.addresses)
        assert seen.addresses == {"a": "10.0.0.1", "c": "10.0.0.3"}
        server.fail(410)
        await until(lambda: len(server.lists) == 2)
        await until(lambda: seen.changes[-1] == ["a", "c"])
        assert seen.addresses == {"a": "10.0.0.1", "c": "10.0.0.3"}
        told = [vars(r)["fields"] for r in caplog.records if r.getMessage() == BROKEN]
        assert [fields["object"] for fields in told] == ["ns/never", "ns/a", "ns/b"]
        await until(lambda: server.watches)
        server.delete("a")
        await until(lambda: "a" not in seen.addresses)


async def test_labels_of_a_wrong_type_or_bad_utf_8_cost_no_new_list(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    pod_at(server, "a", "10.0.0.1")
    async with reflecting(client, seen):
        await until(lambda: server.watches)
        server.put("a", metadata={"labels": {"app": 5}})
        server.version += 1
        version = str(server.version).encode()
        server.tell_bytes(
            b'{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"ns",'
            b'"resourceVersion":"' + version + b'","labels":{"app":"\xff"}}}}\n'
        )
        pod_at(server, "b", "10.0.0.2")
        await until(lambda: "b" in seen.addresses)
    assert seen.addresses["a"] == "10.0.0.1"
    assert messages(caplog) == [BROKEN, BROKEN]
    assert len(server.lists) == 1


@pytest.mark.parametrize(
    "answer", [b"no JSON", b"[]", b'{"metadata":5}', b'{"metadata":{"resourceVersion":"\xff"}}']
)
async def test_an_unreadable_list_is_told_once_and_tried_again(
    server: ApiServer,
    client: KubeClient,
    seen: Seen,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
) -> None:
    server.list_answer = answer
    async with reflecting(client, seen) as reflector:
        await until(lambda: len(server.lists) == 3)
        assert messages(caplog) == ["Failed to watch"]
        server.list_answer = None
        await reflector.tried.wait()


@pytest.mark.parametrize("line", [b"no JSON\n", b'{"type":5}\n', b'{"type":"ERROR"}\n', b"\xff\n"])
async def test_an_unreadable_event_costs_a_new_list(
    server: ApiServer,
    client: KubeClient,
    seen: Seen,
    caplog: pytest.LogCaptureFixture,
    line: bytes,
) -> None:
    async with reflecting(client, seen):
        await until(lambda: server.watches)
        server.version += 1
        server.tell_bytes(line)
        await until(lambda: len(server.lists) == 2)
        await until(lambda: server.watches)
    assert messages(caplog) == ["Failed to watch"]


async def test_an_error_that_a_watch_tells_costs_a_new_list(
    server: ApiServer, client: KubeClient, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    async with reflecting(client, seen):
        await until(lambda: server.watches)
        server.fail(500)
        await until(lambda: len(server.lists) == 2)
    assert messages(caplog)[:1] == ["Failed to watch"]


async def test_a_reflector_that_is_cancelled_leaves_nothing_behind(
    server: ApiServer, client: KubeClient, seen: Seen
) -> None:
    before = asyncio.all_tasks()
    async with reflecting(client, seen):
        await until(lambda: server.watches)
    await until(lambda: not server.watches)
    await until(lambda: asyncio.all_tasks() <= before)
