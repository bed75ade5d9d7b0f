"""One running request: its two phases, and when each token is due.

A wait is until a deadline that is counted from the start, so that late wake-ups do not add up. A
delay of zero does not wait at all: tokens that are due together come together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from epp.core.clock import Clock
from epp.simulator.families import Family
from epp.simulator.latency import LatencyModel
from epp.simulator.metrics import Metrics
from epp.simulator.requests import GenerationRequest
from epp.simulator.slots import Slots
from epp.simulator.text import FinishReason, Text

Sleep = Callable[[float], Awaitable[object]]


class Job(msgspec.Struct, frozen=True):
    """A request that has been understood, with the answer it will get."""

    request: GenerationRequest
    id: str
    created: int
    lora: str | None
    prompt_tokens: Sequence[str]
    text: Text
    forces_cache_threshold: bool
    arrived_at: float

    @property
    def is_remote_decode(self) -> bool:
        """Whether this is only the prefill of a request."""
        transfer = self.request.kv_transfer_params
        return transfer is not None and transfer.do_remote_decode

    @property
    def is_remote_prefill(self) -> bool:
        """Whether the prefill happened elsewhere."""
        transfer = self.request.kv_transfer_params
        return transfer is not None and transfer.do_remote_prefill


class Generation:
    """A request that holds a slot; a KV-cache threshold may leave it without tokens."""

    def __init__(
        self,
        job: Job,
        text: Text,
        *,
        cached_tokens: int,
        latency: LatencyModel,
        slots: Slots,
        metrics: Metrics,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self.job = job
        self.tokens = text.tokens
        self.finish_reason = text.finish_reason
        self._cached_tokens = cached_tokens
        self._latency = latency
        self._slots = slots
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._started_at = self._due_at = clock.now()
        self._prefilled_at = self._started_at
        self._next = 0
        self._pending_ms = 0

    @property
    def is_complete(self) -> bool:
        """Whether every token has been due."""
        return self._next == len(self.tokens)

    async def prefill(self) -> None:
        """Wait until the first token is due."""
        if self.finish_reason is FinishReason.CACHE_THRESHOLD:
            return
        prompt_tokens = len(self.job.prompt_tokens)
        if self.job.is_remote_prefill:
            delay_ms = self._latency.kv_transfer_ms(prompt_tokens)
        else:
            delay_ms = self._latency.time_to_first_token_ms(
                prompt_tokens, self._cached_tokens, self._slots.running
            )
        await self._wait(delay_ms)
        self._prefilled_at = self._clock.now()
        self._metrics.observe(Family.TIME_TO_FIRST_TOKEN, delay_ms / 1000)
        self._metrics.observe(Family.PREFILL_TIME, self._prefilled_at - self._started_at)

    async def next_tokens(self) -> Sequence[str]:
        """Wait for the next token; it comes with all that are due at the same time."""
        await self._wait(self._pending_ms)
        start, end = self._next, self._next + 1
        while end < len(self.tokens):
            self._pending_ms = self._draw()
            if self._pending_ms:
                break
            end += 1
        self._next = min(end, len(self.tokens))
        return self.tokens[start : self._next]

    async def remaining_tokens(self) -> None:
        """Wait until the last token is due, in one wait unless the load changes its length."""
        if self._latency.depends_on_load:
            while not self.is_complete:
                await self.next_tokens()
            return
        await self._wait(sum(self._draw() for _ in range(len(self.tokens) - 1)))
        self._next = len(self.tokens)

    def report(self) -> None:
        """Count an answer that has been sent."""
        now, metrics = self._clock.now(), self._metrics
        if self.finish_reason is not FinishReason.CACHE_THRESHOLD:
            metrics.observe(Family.DECODE_TIME, now - self._prefilled_at)
        metrics.observe(Family.INFERENCE_TIME, now - self._started_at)
        metrics.observe(Family.E2E_LATENCY, now - self.job.arrived_at)
        job = self.job
        metrics.count_tokens(len(job.prompt_tokens), len(self.tokens), job.request.limit)
        metrics.count_finished(self.finish_reason)

    def _draw(self) -> int:
        delay_ms = self._latency.inter_token_ms(self._slots.running)
        self._metrics.observe(Family.TIME_PER_OUTPUT_TOKEN, delay_ms / 1000)
        self._metrics.observe(Family.INTER_TOKEN_LATENCY, delay_ms / 1000)
        return delay_ms

    async def _wait(self, delay_ms: int) -> None:
        if delay_ms:
            self._due_at += delay_ms / 1000
            await self._sleep(max(0.0, self._due_at - self._clock.now()))
