from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from epp.kube.client import ApiError, UnreachableError
from epp.kube.lease import (
    JITTER,
    UPSTREAM,
    Elector,
    LeaseLostError,
    Timing,
    lease_name,
    make_identity,
)
from tests.fakes import SEED
from tests.kube.api import FakeClient, LoopClock, Objects

PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/lease"
TIMING = UPSTREAM
MOMENT = 0.01
LONGEST_RETRY = TIMING.retry_seconds * (1 + JITTER) + 2 * MOMENT


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(happened: Callable[[], bool]) -> float:
    """When it happened."""
    while not happened():  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(MOMENT)
    return now()


class Contender:
    """An elector, its connection to the API server, and how its run ended."""

    def __init__(self, objects: Objects, identity: str, *, clock_offset: float = 0.0) -> None:
        self.client = FakeClient(objects.answer)
        self.elector = Elector(
            self.client,
            "ns",
            "lease",
            identity=identity,
            clock=LoopClock(clock_offset),
            random=Random(SEED),
        )
        self.lost_at = 0.0
        self.lost = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Stand for election; a first attempt was made when this returns."""
        self._task = tasks.create_task(self._run())
        await asyncio.sleep(MOMENT)

    def stop(self) -> None:
        """Stop renewing, as in a crash."""
        if self._task is not None:
            self._task.cancel()

    async def until_leader(self) -> float:
        """When it became the leader."""
        return await until(lambda: self.elector.is_leader)

    def writes(self) -> list[dict[str, Any]]:
        return [body for method, _, body in self.client.sent if method != "GET"]

    async def _run(self) -> None:
        try:
            await self.elector.run()
        except LeaseLostError as error:
            self.lost_at, self.lost = now(), str(error)


@asynccontextmanager
async def running(*contenders: Contender) -> AsyncIterator[None]:
    """All of them stand for election, the first one first."""
    async with asyncio.TaskGroup() as tasks:
        for contender in contenders:
            await contender.start(tasks)
        yield
        for contender in contenders:
            contender.stop()


def spec(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = objects.objects[PATH]["spec"]
    return found


def write(objects: Objects, **fields: Any) -> None:
    """Change the lease, as somebody who does not ask."""
    old = objects.objects.pop(PATH, {"metadata": {"name": "lease"}, "spec": {}})
    body = {**old, "spec": {**old["spec"], **fields}}
    objects.answer("POST", PATH.rpartition("/")[0], body)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_name_and_the_times_are_those_of_the_2025_release() -> None:
    assert lease_name("ns", "p") == "epp-ns-p.gateway-api-inference-extension.sigs.k8s.io"
    assert (
        Timing(lease_seconds=15, renew_seconds=10.0, retry_seconds=2.0, request_seconds=5.0)
        == UPSTREAM
    )


def test_no_two_processes_have_the_same_identity() -> None:
    first, second = make_identity(), make_identity()
    assert first != second
    assert first.rpartition("_")[0] == second.rpartition("_")[0] != ""


@pytest.mark.looptime
async def test_a_lease_that_is_not_there_is_made(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    objects = Objects()
    a = Contender(objects, "a")
    assert not a.elector.is_leader
    async with running(a):
        assert a.elector.is_leader
        assert objects.objects[PATH] == {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "lease", "namespace": "ns", "resourceVersion": "1"},
            "spec": {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "acquireTime": "2026-11-24T12:00:00.000000Z",
                "renewTime": "2026-11-24T12:00:00.000000Z",
                "leaseTransitions": 0,
            },
        }
    assert messages(caplog) == ["Leader election enabled", "This instance is now the leader!"]


@pytest.mark.looptime
async def test_a_leader_renews_every_two_seconds_and_changes_nothing_else() -> None:
    objects = Objects()
    write(objects, holderIdentity="", leaseTransitions=6, strategy="later")
    objects.objects[PATH]["metadata"]["labels"] = {"mine": "yes"}
    a = Contender(objects, "a")
    async with running(a):
        await asyncio.sleep(60)
        assert a.elector.is_leader
        assert len(a.writes()) == 31
    assert objects.objects[PATH]["metadata"]["labels"] == {"mine": "yes"}
    assert spec(objects) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-24T12:00:00.000000Z",
        "renewTime": "2026-11-24T12:01:00.000000Z",
        "leaseTransitions": 7,
        "strategy": "later",
    }


@pytest.mark.looptime
@pytest.mark.parametrize("clock_offset", [0.0, -3600.0, 3600.0])
async def test_a_lease_is_respected_while_it_is_renewed_whatever_the_clocks_say(
    clock_offset: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    objects = Objects()
    a, b = Contender(objects, "a"), Contender(objects, "b", clock_offset=clock_offset)
    async with running(a, b):
        for _ in range(300):
            await asyncio.sleep(1)
            assert (a.elector.is_leader, b.elector.is_leader) == (True, False)
        assert b.writes() == []
    assert messages(caplog).count("Another instance is the leader") == 1


@pytest.mark.looptime
@pytest.mark.parametrize("clock_offset", [0.0, -3600.0, 3600.0])
@pytest.mark.parametrize(
    ("duration", "seconds"), [(40, 40.0), (1, 1.0), (None, TIMING.lease_seconds)]
)
async def test_a_lease_is_taken_when_nothing_was_written_for_as_long_as_it_says(
    duration: int | None, seconds: float, clock_offset: float
) -> None:
    objects = Objects()
    write(
        objects,
        holderIdentity="gone",
        leaseDurationSeconds=duration,
        renewTime="2020-01-01T00:00:00.000000Z",
    )
    b = Contender(objects, "b", clock_offset=clock_offset)
    async with running(b):
        assert seconds <= await b.until_leader() <= seconds + LONGEST_RETRY
    assert spec(objects)["leaseDurationSeconds"] == 15


@pytest.mark.looptime
async def test_a_change_of_anything_but_the_spec_is_no_renewal() -> None:
    objects = Objects()
    write(objects, holderIdentity="gone", leaseDurationSeconds=15)
    b = Contender(objects, "b")
    async with running(b):
        for _ in range(14):
            await asyncio.sleep(1)
            write(objects)
        assert await b.until_leader() <= 15 + LONGEST_RETRY


@pytest.mark.looptime
async def test_after_a_crash_the_other_one_leads_when_the_lease_has_ended() -> None:
    objects = Objects()
    a, b = Contender(objects, "a"), Contender(objects, "b")
    async with running(a, b):
        await asyncio.sleep(20)
        a.stop()
        crashed_at = now()
        took = await b.until_leader() - crashed_at
    assert TIMING.lease_seconds - TIMING.retry_seconds <= took
    assert took <= TIMING.lease_seconds + 2 * LONGEST_RETRY
    assert (spec(objects)["holderIdentity"], spec(objects)["leaseTransitions"]) == ("b", 1)


@pytest.mark.looptime
async def test_after_a_release_the_other_one_leads_within_a_retry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(1)
    objects = Objects()
    a, b = Contender(objects, "a"), Contender(objects, "b")
    async with running(a, b):
        await asyncio.sleep(20)
        a.stop()
        await asyncio.sleep(MOMENT)
        assert a.elector.is_leader
        await a.elector.release()
        assert not a.elector.is_leader
        assert (spec(objects)["holderIdentity"], spec(objects)["leaseDurationSeconds"]) == ("", 1)
        released_at = now()
        assert await b.until_leader() - released_at <= LONGEST_RETRY
        assert spec(objects)["leaseTransitions"] == 1
    assert "Released the lease" in messages(caplog)


@pytest.mark.looptime
async def test_only_what_is_ours_is_released(caplog: pytest.LogCaptureFixture) -> None:
    objects = Objects()
    a, b = Contender(objects, "a"), Contender(objects, "b")
    await b.elector.release()
    async with running(a, b):
        await b.elector.release()
        assert spec(objects)["holderIdentity"] == "a"
        assert b.writes() == []
    assert not caplog.records


@pytest.mark.looptime
@pytest.mark.parametrize("problem", [ApiError(500, "etcd is away"), None])
async def test_a_release_that_fails_takes_no_longer_than_one_request(
    problem: ApiError | None, caplog: pytest.LogCaptureFixture
) -> None:
    a = Contender(Objects(), "a")
    async with running(a):
        a.stop()
        a.client.failure = problem
        a.client.delay = 0.0 if problem else 3600.0
        started = now()
        await a.elector.release()
        assert now() - started <= TIMING.request_seconds
    (record,) = caplog.records
    assert record.getMessage() == "Could not release the lease"


@pytest.mark.looptime
@pytest.mark.parametrize("failure", [UnreachableError("gone"), ApiError(500, "x"), None])
async def test_a_leader_that_cannot_renew_stops_being_one_before_the_lease_ends(
    failure: Exception | None,
) -> None:
    """None: the API server does not answer at all."""
    a = Contender(Objects(), "a")
    async with running(a):
        await asyncio.sleep(20)
        failed_at = now()
        a.client.failure = failure
        a.client.delay = 0.0 if failure else 3600.0
        await until(lambda: bool(a.lost))
        assert not a.elector.is_leader
    assert a.lost == "leader election lost: the lease could not be renewed within 10 s"
    took = a.lost_at - failed_at
    assert TIMING.renew_seconds <= took <= TIMING.renew_seconds + TIMING.retry_seconds + MOMENT
    assert took + TIMING.retry_seconds < TIMING.lease_seconds


@pytest.mark.looptime
async def test_a_short_failure_costs_nothing() -> None:
    objects = Objects()
    a = Contender(objects, "a")
    async with running(a):
        await asyncio.sleep(20)
        a.client.failure = UnreachableError("gone")
        await asyncio.sleep(9)
        assert a.elector.is_leader
        a.client.failure = None
        await asyncio.sleep(20)
        assert a.elector.is_leader
    assert (a.lost, spec(objects)["leaseTransitions"]) == ("", 0)


@pytest.mark.looptime
async def test_a_leader_that_finds_another_ones_name_is_lost_at_once() -> None:
    objects = Objects()
    a = Contender(objects, "a")
    async with running(a):
        await asyncio.sleep(20)
        write(objects, holderIdentity="b")
        await asyncio.sleep(TIMING.retry_seconds + MOMENT)
        assert not a.elector.is_leader
        assert a.lost == "leader election lost: b holds the lease"
    assert spec(objects)["holderIdentity"] == "b"


@pytest.mark.looptime
async def test_a_lease_that_was_deleted_is_made_again() -> None:
    objects = Objects()
    a = Contender(objects, "a")
    async with running(a):
        objects.objects.clear()
        await asyncio.sleep(3)
        assert a.elector.is_leader
    assert spec(objects)["holderIdentity"] == "a"


@pytest.mark.looptime
async def test_who_could_not_ask_for_long_is_no_leader_even_before_it_is_told() -> None:
    """As after a stop of the whole process."""
    skipped = [0.0]

    class JumpingClock(LoopClock):
        def now(self) -> float:
            return super().now() + skipped[0]

    elector = Elector(
        FakeClient(Objects().answer),
        "ns",
        "lease",
        identity="a",
        clock=JumpingClock(),
        random=Random(SEED),
    )
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(elector.run())
        await asyncio.sleep(MOMENT)
        assert elector.is_leader
        skipped[0] = TIMING.lease_seconds
        assert not elector.is_leader
        task.cancel()


@pytest.mark.looptime
@pytest.mark.parametrize("there_was_one", [False, True])
async def test_of_two_who_write_at_the_same_time_one_wins(
    there_was_one: bool, caplog: pytest.LogCaptureFixture
) -> None:
    objects = Objects()
    if there_was_one:
        write(objects, holderIdentity="", leaseDurationSeconds=1)
    a, b = Contender(objects, "a"), Contender(objects, "b")
    a.client.delay = b.client.delay = 1.0
    async with running(a, b):
        await asyncio.sleep(30)
        assert (a.elector.is_leader, b.elector.is_leader) == (True, False)
        assert len(b.writes()) == 1
    assert not caplog.records


@pytest.mark.looptime
async def test_without_the_rights_there_is_one_line_and_no_leader_until_they_are_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    a = Contender(Objects(), "a")
    a.client.failure = ApiError(403, "leases is forbidden")
    async with running(a):
        await asyncio.sleep(300)
        assert not a.elector.is_leader
        (record,) = caplog.records
        assert record.getMessage() == "Cannot take part in leader election"
        assert record.__dict__["fields"] == {
            "lease": "ns/lease",
            "error": "leases is forbidden",
            "needs": "get, create, update on leases.coordination.k8s.io",
        }
        await a.elector.release()
        assert len(caplog.records) == 1
        a.client.failure = None
        await asyncio.sleep(5)
        assert a.elector.is_leader


@pytest.mark.looptime
@pytest.mark.parametrize(
    "lease", ["text", {"spec": {"leaseDurationSeconds": "long"}}, b"{", b'{"spec": "\xff"}']
)
async def test_an_answer_that_is_no_lease_is_a_failure_like_others(
    lease: Any, caplog: pytest.LogCaptureFixture
) -> None:
    objects = Objects()
    a = Contender(objects, "a")
    a.client.answer = lambda *_: lease
    async with running(a):
        await asyncio.sleep(60)
        assert not a.elector.is_leader
        assert messages(caplog) == ["Cannot take part in leader election"]
        a.client.answer = objects.answer
        await asyncio.sleep(5)
        assert a.elector.is_leader
