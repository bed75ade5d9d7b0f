"""The ExternalProcessor service on grpcio: the edge between the stream machine and the wire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

import grpc

from epp.core.decision import Decision
from epp.core.errors import EppError, ServiceUnavailableError
from epp.director import Director
from epp.exchange import Exchange
from epp.extproc import codec
from epp.extproc.events import Decide, End, Output
from epp.extproc.stepping import Suspended, start
from epp.extproc.stream import Stream

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"

Context: TypeAlias = Any  # grpc.aio.ServicerContext[bytes, bytes]; its read() has no true type

logger = logging.getLogger("ext-proc")


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
        self._director = director
        self._open_exchange = open_exchange
        self._tasks = tasks
        self._decision_timeout = decision_timeout_seconds
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no stream is running."""
        await self._idle.wait()

    def handler(self) -> grpc.GenericRpcHandler:
        """What a grpcio server registers. Messages stay bytes: the codec reads and writes them."""
        process: Any = grpc.stream_stream_rpc_method_handler(self.process)
        return grpc.method_handlers_generic_handler(SERVICE, {"Process": process})

    async def process(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """One stream, from its first message to its end."""
        self._running += 1
        self._idle.clear()
        try:
            await self._process(_Call(context), context)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _process(self, call: _Call, context: Context) -> None:
        exchange = self._open_exchange()
        stream = Stream(exchange)
        try:
            while not call.is_over:
                await self._advance(stream, call)
        except codec.UnreadableMessageError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no ProcessingRequest: {error}")
        except grpc.aio.BaseError:
            pass  # the proxy is gone, or the server stops: nobody is left to answer
        except Exception as error:
            logger.exception("failed to handle request")
            exchange.failed("Unknown")
            await context.abort(grpc.StatusCode.UNKNOWN, f"failed to handle request: {error}")
        finally:
            stream.closed()
        if call.problem:
            await context.abort(grpc.StatusCode.ABORTED, call.problem)

    async def _advance(self, stream: Stream, call: _Call) -> None:
        """Read a message, feed the machine, write what is due.

        A method of its own, so that no body is held on to while the next message is awaited.
        """
        data = await call.read()
        if data is None:
            await call.send(stream.half_closed())
            call.is_over = True
            return
        for output in stream.receive(codec.decode(data)):
            if isinstance(output, Decide):
                outcome = await self._decide(output, stream, call)
                await call.send(stream.decided(outcome) if outcome else ())
            else:
                await call.send((output,))

    async def _decide(
        self, order: Decide, stream: Stream, call: _Call
    ) -> Decision | EppError | None:
        """The decision or the refusal; None when the proxy did not wait for it."""
        try:
            step = start(self._director.decide(stream.exchange, order.request))
        except EppError as error:
            return error
        return step if isinstance(step, Decision) else await self._wait(step, stream, call)

    async def _wait(
        self, rest: Suspended[Decision], stream: Stream, call: _Call
    ) -> Decision | EppError | None:
        """Go on reading while the decision has to wait: the proxy may give up or go away."""
        deciding = self._tasks.create_task(self._finish(rest))
        try:
            while not deciding.done():
                reading = call.read_ahead(self._tasks)
                await asyncio.wait((deciding, reading), return_when=asyncio.FIRST_COMPLETED)
                if deciding.done():
                    break
                data = await call.read()
                if data is None:
                    await asyncio.wait((deciding,))
                    break
                await call.send(stream.receive(codec.decode(data)))
                if not stream.is_deciding:
                    return None
            outcome = deciding.result()
        finally:
            deciding.cancel()
        if isinstance(outcome, EppError | Decision):
            return outcome
        raise outcome

    async def _finish(self, rest: Suspended[Decision]) -> Decision | Exception:
        """Never raises: what went wrong is the stream's matter, not the task group's."""
        try:
            async with asyncio.timeout(self._decision_timeout):
                return await rest
        except TimeoutError:
            return ServiceUnavailableError(f"no decision within {self._decision_timeout:g} seconds")
        except Exception as error:
            return error


class _Call:
    """The two ends of a grpcio stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reading: asyncio.Task[bytes | None] | None = None
        self.is_over = False
        self.problem = ""

    async def read(self) -> bytes | None:
        """The next message, None when the proxy sends no more."""
        if self._reading is not None:
            reading, self._reading = self._reading, None
            return await reading
        data = await self._context.read()
        return data if isinstance(data, bytes) else None

    def read_ahead(self, tasks: asyncio.TaskGroup) -> asyncio.Task[bytes | None]:
        """A task that has the next message when it is done; ``read`` then takes it from there."""
        if self._reading is None:
            self._reading = tasks.create_task(self._read_quietly())
        return self._reading

    async def _read_quietly(self) -> bytes | None:
        try:
            data = await self._context.read()
        except grpc.aio.BaseError:
            return None
        return data if isinstance(data, bytes) else None

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write these answers in their order; ``End`` is noted for the caller."""
        for output in outputs:
            if isinstance(output, End):
                self.is_over = True
                self.problem = output.problem
            elif not isinstance(output, Decide):
                await self._context.write(codec.encode(output))
