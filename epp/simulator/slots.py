"""Who runs and who waits: request slots, LoRA slots and a first-in-first-out queue.

A request runs at once when a slot is free and its adapter is loaded or can be; else it waits. Each
time something ends, the first waiting request whose adapter is loaded (or that needs none) goes
on; if there is none, the first whose adapter can be loaded.

Source: llm-d-inference-sim v0.7.1, workers and waiting queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from epp.simulator.errors import ApiError


class Slots:
    """The slots of one model server; ``lora`` is an adapter's name, None the base model."""

    def __init__(
        self,
        *,
        max_running: int,
        max_waiting: int,
        max_loras: int,
        on_lora_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._max_loras = max_loras
        self._on_lora_change = on_lora_change
        self._waiting: dict[asyncio.Future[None], str | None] = {}
        self._loaded: dict[str, int] = {}  # running requests; idle adapters: longest idle first
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many requests are queued."""
        return len(self._waiting)

    def running_loras(self) -> list[str]:
        """Names of the adapters that running requests use."""
        return sorted(lora for lora, users in self._loaded.items() if users)

    def waiting_loras(self) -> list[str]:
        """Names of the adapters that queued requests want."""
        return sorted({lora for lora in self._waiting.values() if lora is not None})

    async def take(self, lora: str | None) -> bool:
        """Take a slot; returns whether it had to be waited for.

        Raises:
            ApiError: the queue is full.
        """
        if self.running < self._max_running and self._can_load(lora):
            self._occupy(lora)
            return False
        if len(self._waiting) >= self._max_waiting:
            raise ApiError("Failed to enqueue request, waiting requests queue is full", status=429)
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = lora
        self._report(lora)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket in self._waiting:
                del self._waiting[ticket]
                self._report(lora)
            else:  # the slot came in the same moment
                self.give_back(lora)
            raise
        return True

    def give_back(self, lora: str | None) -> None:
        """Free a slot and let waiting requests go on."""
        self.running -= 1
        if lora is not None:
            users = self._loaded.pop(lora) - 1
            self._loaded[lora] = users
            self._report(lora)
        while self.running < self._max_running:
            ticket = self._next()
            if ticket is None:
                return
            self._occupy(self._waiting.pop(ticket))
            ticket.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        """The queued request that may go on now."""
        loadable = None
        for ticket, lora in self._waiting.items():
            if ticket.done():
                continue  # given up, about to leave the queue by itself
            if lora is None or lora in self._loaded:
                return ticket
            if loadable is None and self._can_load(lora):
                loadable = ticket
        return loadable

    def _can_load(self, lora: str | None) -> bool:
        if lora is None or lora in self._loaded or len(self._loaded) < self._max_loras:
            return True
        return not all(self._loaded.values())

    def _occupy(self, lora: str | None) -> None:
        self.running += 1
        if lora is None:
            return
        if lora not in self._loaded and len(self._loaded) == self._max_loras:
            idle = next(name for name, users in self._loaded.items() if not users)
            del self._loaded[idle]
        self._loaded[lora] = self._loaded.get(lora, 0) + 1
        self._report(lora)

    def _report(self, lora: str | None) -> None:
        if lora is not None:
            self._on_lora_change()
