from __future__ import annotations

import asyncio

import pytest

from epp.extproc.stepping import Suspended, start


async def test_a_coroutine_that_never_waits_is_done_at_once() -> None:
    async def work() -> int:
        return 7

    assert start(work()) == 7


async def test_a_coroutine_that_waits_goes_on_when_awaited() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        first = await gate
        await asyncio.sleep(0)
        return first + 1

    rest = start(work())
    assert isinstance(rest, Suspended)
    asyncio.get_running_loop().call_soon(gate.set_result, 1)
    assert await rest == 2


def test_what_it_raises_before_it_waits_comes_out() -> None:
    async def work() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        start(work())


async def test_cancelling_reaches_the_coroutine() -> None:
    cleaned = []

    async def work() -> int:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cleaned.append(True)
        return 0

    rest = start(work())
    assert isinstance(rest, Suspended)

    async def wait() -> int:
        return await rest

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait()
    assert cleaned == [True]
