"""Running a coroutine in place, and making a task of it only when it has to wait."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Suspended(Generic[T]):
    """A coroutine that was started and now waits; awaiting this goes on with it."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for
        while True:
            thrown: BaseException | None = None
            try:
                yield waits_for
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:
                thrown = error
            try:
                waits_for = (
                    self._coroutine.throw(thrown)
                    if thrown is not None
                    else self._coroutine.send(None)
                )
            except StopIteration as finished:
                result: T = finished.value
                return result


def start(coroutine: Coroutine[Any, Any, T]) -> T | Suspended[T]:
    """The coroutine's result when it never waits, else the rest of it to be awaited.

    A request that need not wait costs no task this way. Until its first wait the coroutine runs
    without a task of its own, so it must not use ``asyncio.timeout`` or ``current_task`` there.

    Raises:
        Exception: whatever the coroutine raises.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    return Suspended(coroutine, waits_for)
