"""The ExternalProcessor service: the edge between the stream machine and whatever carries it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from epp.core.decision import Decision
from epp.core.errors import EppError, ServiceUnavailableError
from epp.director import Director
from epp.exchange import Exchange
from epp.extproc import codec
from epp.extproc.events import BodyAnswer, Decide, End, Output
from epp.extproc.relay import Relay
from epp.extproc.stepping import Suspended, start
from epp.extproc.stream import Stream
from epp.extproc.usual import LONG_BYTES
from epp.rpc import Call, Message, Services, Status

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"

logger = logging.getLogger("ext-proc")


class HasDirector(Protocol):
    """What has a director to decide requests."""

    @property
    def director(self) -> Director: ...


class ExternalProcessor:
    """Answers ``Process`` streams, one per HTTP request.

    ``tasks`` is where decisions that have to wait go on; a request that need not wait makes none.
    """

    def __init__(
        self,
        director: Director,
        open_exchange: Callable[[], Exchange],
        tasks: asyncio.TaskGroup,
        *,
        decision_timeout_seconds: float,
    ) -> None:
        self.director = director
        self.tasks = tasks
        self.decision_timeout_seconds = decision_timeout_seconds
        self._open_exchange = open_exchange
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def use(self, source: HasDirector) -> None:
        """Have requests that come from now on decided by another director."""
        self.director = source.director

    @property
    def services(self) -> Services:
        """What a transport serves."""
        return {f"/{SERVICE}/Process": self.open}

    def open(self, call: Call) -> Process:
        """A new stream."""
        process = Process(self, call, self._open_exchange())
        self._running += 1
        if self._running == 1:
            self._idle.clear()
        return process

    def ended(self) -> None:
        """A stream is over."""
        self._running -= 1
        if not self._running:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no stream is running."""
        await self._idle.wait()


class Process:
    """One stream: messages in, answers out, everything in the turn in which it came.

    Only a decision that has to wait gets a task; it ends with the stream, or when the proxy no
    longer waits for it.
    """

    __slots__ = ("_call", "_deciding", "_is_half_closed", "_processor", "_relay", "_stream")

    def __init__(self, processor: ExternalProcessor, call: Call, exchange: Exchange) -> None:
        self._processor = processor
        self._call = call
        self._stream = Stream(exchange)
        self._relay = Relay(self._stream)
        self._deciding: asyncio.Task[None] | None = None
        self._is_half_closed = False

    def message(self, data: Message) -> None:
        """One ``ProcessingRequest``."""
        try:
            answer = self._relay.answer(data)
            if answer is not None:
                self._call.send(answer)
                return
            self._answer(self._stream.receive(codec.decode(data)))
        except codec.UnreadableMessageError as error:
            self._call.finish(Status.INVALID_ARGUMENT, f"no ProcessingRequest: {error}")
        except Exception as error:
            self._failed(error)
        if self._deciding is not None and not self._stream.is_deciding:
            self._deciding.cancel()

    def half_closed(self) -> None:
        """The proxy will send no more; a decision that waits is still made and sent."""
        self._is_half_closed = True
        self._answer(self._stream.half_closed())

    def ended(self) -> None:
        """The stream is over, whoever ended it."""
        if self._deciding is not None:
            self._deciding.cancel()
        try:
            self._stream.closed()
        finally:
            self._processor.ended()

    def _answer(self, outputs: Sequence[Output]) -> None:
        call = self._call
        for output in outputs:
            if isinstance(output, Decide):
                self._decide(output)
            elif isinstance(output, End):
                call.finish(Status.ABORTED if output.problem else Status.OK, output.problem)
            elif isinstance(output, BodyAnswer) and len(output.body) >= LONG_BYTES:
                call.send_parts(codec.encode_parts(output))
            else:
                call.send(codec.encode(output))

    def _decide(self, order: Decide) -> None:
        processor, stream = self._processor, self._stream
        try:
            step = start(processor.director.decide(stream.exchange, order.request))
        except EppError as error:
            self._answer(stream.decided(error))
            return
        if isinstance(step, Decision):
            self._answer(stream.decided(step))
        else:
            self._deciding = processor.tasks.create_task(self._wait(step))

    async def _wait(self, rest: Suspended[Decision]) -> None:
        """Never raises: what goes wrong is the stream's matter, not the task group's."""
        timeout = self._processor.decision_timeout_seconds
        outcome: Decision | EppError
        try:
            async with asyncio.timeout(timeout):
                outcome = await rest
        except TimeoutError:
            outcome = ServiceUnavailableError(f"no decision within {timeout:g} seconds")
        except EppError as error:
            outcome = error
        except Exception as error:
            self._failed(error)
            return
        self._deciding = None
        try:
            self._answer(self._stream.decided(outcome))
            if self._is_half_closed:
                self._answer(self._stream.half_closed())
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        logger.error("failed to handle request", exc_info=error)
        self._stream.exchange.failed("Unknown")
        self._call.finish(Status.UNKNOWN, f"failed to handle request: {error}")
