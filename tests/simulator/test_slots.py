import asyncio

import pytest

from epp.simulator.errors import ApiError
from epp.simulator.slots import Slots


def slots(running: int = 1, waiting: int = 10, loras: int = 1) -> Slots:
    return Slots(max_running=running, max_waiting=waiting, max_loras=loras)


class Queued:
    """Requests that try to run, in the order in which they could."""

    def __init__(self, slots: Slots, tasks: asyncio.TaskGroup) -> None:
        self._slots, self._tasks = slots, tasks
        self.started: list[str] = []

    async def add(self, name: str, lora: str | None = None) -> asyncio.Task[None]:
        task = self._tasks.create_task(self._take(name, lora))
        await asyncio.sleep(0)
        return task

    async def _take(self, name: str, lora: str | None) -> None:
        await self._slots.take(lora)
        self.started.append(name)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_free_slot_is_taken_at_once() -> None:
    table = slots()
    assert not await table.take(None)
    assert (table.running, table.waiting) == (1, 0)


async def test_queued_requests_go_on_in_the_order_of_arrival() -> None:
    table = slots()
    await table.take(None)
    async with asyncio.TaskGroup() as tasks:
        queued = Queued(table, tasks)
        for name in "abc":
            await queued.add(name)
        assert table.waiting == 3
        for _ in range(3):
            table.give_back(None)
            await settle()
        assert queued.started == ["a", "b", "c"]
    assert (table.running, table.waiting) == (1, 0)


async def test_a_full_queue_refuses() -> None:
    table = slots(waiting=1)
    await table.take(None)
    async with asyncio.TaskGroup() as tasks:
        await Queued(table, tasks).add("a")
        with pytest.raises(ApiError, match="queue is full") as refused:
            await table.take(None)
        assert refused.value.status == 429
        table.give_back(None)


async def test_who_gives_up_leaves_the_queue() -> None:
    table = slots()
    await table.take(None)
    async with asyncio.TaskGroup() as tasks:
        queued = Queued(table, tasks)
        gone = await queued.add("gone")
        await queued.add("next")
        gone.cancel()
        table.give_back(None)
        await settle()
        assert queued.started == ["next"]
    assert (table.running, table.waiting) == (1, 0)


async def test_a_slot_that_comes_in_the_moment_of_giving_up_is_not_lost() -> None:
    table = slots()
    await table.take(None)
    async with asyncio.TaskGroup() as tasks:
        gone = await Queued(table, tasks).add("gone")
        table.give_back(None)
        gone.cancel()
        await settle()
    assert (table.running, table.waiting) == (0, 0)


async def test_an_adapter_waits_for_a_lora_slot_and_others_overtake_it() -> None:
    table = slots(running=3)
    await table.take("one")
    async with asyncio.TaskGroup() as tasks:
        queued = Queued(table, tasks)
        await queued.add("two", "two")
        await queued.add("base")
        await queued.add("one again", "one")
        assert queued.started == ["base", "one again"]
        assert (table.running_loras(), table.waiting_loras()) == (["one"], ["two"])
        table.give_back("one")
        await settle()
        assert "two" not in queued.started
        table.give_back("one")
        await settle()
        assert queued.started[-1] == "two"
    assert (table.running_loras(), table.waiting_loras()) == (["two"], [])


async def test_queued_requests_of_a_loaded_adapter_come_before_those_that_must_load() -> None:
    table = slots()
    await table.take("one")
    async with asyncio.TaskGroup() as tasks:
        queued = Queued(table, tasks)
        await queued.add("two", "two")
        await queued.add("one again", "one")
        table.give_back("one")
        await settle()
        assert queued.started == ["one again"]
        table.give_back("one")


async def test_base_requests_are_never_named_as_waiting_adapters() -> None:
    table = slots()
    await table.take(None)
    async with asyncio.TaskGroup() as tasks:
        await Queued(table, tasks).add("base")
        assert table.waiting_loras() == []
        table.give_back(None)


async def test_every_change_of_an_adapter_is_reported() -> None:
    seen: list[tuple[list[str], list[str]]] = []
    table = Slots(
        max_running=1,
        max_waiting=1,
        max_loras=1,
        on_lora_change=lambda: seen.append((table.running_loras(), table.waiting_loras())),
    )
    await table.take("one")
    async with asyncio.TaskGroup() as tasks:
        await Queued(table, tasks).add("two", "two")
        table.give_back("one")
    table.give_back("two")
    assert seen[0] == (["one"], [])
    assert (["one"], ["two"]) in seen
    assert seen[-2:] == [(["two"], []), ([], [])]
