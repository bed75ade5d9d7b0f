"""The same services on grpcio, for those who ask for it with ``--transport=grpcio``.

Slower, and with the defaults of grpcio's own HTTP/2: the limits and timers of the other transport
do not apply. Streams are read and written by a task each.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc

from epp.rpc import Handler, Message, Parts, Service, Services, Status

logger = logging.getLogger("grpcio")

Context: TypeAlias = Any  # grpc.aio.ServicerContext[bytes, bytes]; its read() has no true type

# Of one call: no more is read from a client that does not take its answers.
_MAX_UNSENT_BYTES = 1 << 20

# What the last stream's end needs to leave the process.
_LAST_ANSWERS_SECONDS = 0.1


class GrpcioServer:
    """Serves gRPC services on one port.

    ``key_pair`` gives a private key and a chain, both PEM; it is asked at every handshake, and in
    another thread.
    """

    def __init__(
        self,
        services: Services,
        tasks: asyncio.TaskGroup,
        *,
        max_message_bytes: int,
        key_pair: Callable[[], tuple[bytes, bytes]] | None = None,
    ) -> None:
        self._tasks = tasks
        self._key_pair = key_pair
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.so_reuseport", 0),
            ]
        )
        self._server.add_generic_rpc_handlers((_Handlers(services, tasks),))
        self._stopping: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, host: str | None, port: int) -> None:
        """Listen; ``host`` None is every address, ``port`` 0 any free one.

        Raises:
            OSError: the address cannot be had.
        """
        address = f"{host or '[::]'}:{port}"
        try:
            if self._key_pair is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(self._key_pair))
        except RuntimeError as error:
            raise OSError(str(error)) from None
        await self._server.start()

    def drain(self) -> None:
        """Take no more streams; running ones go on."""
        if self._stopping is None:
            # any grace will do, as stop() has the last word
            self._stopping = self._tasks.create_task(self._server.stop(3600))

    async def stop(self, text: str = "") -> None:
        """End every call with UNAVAILABLE; what was just answered may still leave."""
        self.drain()
        await asyncio.sleep(_LAST_ANSWERS_SECONDS)
        await self._server.stop(0)


def _credentials(key_pair: Callable[[], tuple[bytes, bytes]]) -> grpc.ServerCredentials:
    """Credentials that follow ``key_pair``."""
    known = key_pair()

    def configuration(pair: tuple[bytes, bytes]) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([pair])

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal known
        pair = key_pair()
        if pair == known:
            return None
        known = pair
        return configuration(pair)

    # "none" is "as before", which the types do not tell
    return grpc.dynamic_ssl_server_credentials(configuration(known), newer)  # type: ignore[arg-type]


class _Handlers(grpc.GenericRpcHandler):
    """Finds the service for a path; messages stay bytes."""

    def __init__(self, services: Services, tasks: asyncio.TaskGroup) -> None:
        self._services = services
        self._tasks = tasks

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        service = self._services.get(handler_call_details.method)
        if service is None:
            return None

        async def run(_requests: AsyncIterator[bytes], context: Context) -> None:
            await _GrpcioCall(context).run(service, self._tasks)

        return grpc.stream_stream_rpc_method_handler(run)


class _GrpcioCall:
    """One call: a task reads for the handler, and what it sends is written from a queue."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unsent_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_finished = False
        self._status: tuple[int, str] = (Status.OK, "")
        self._trailers: Sequence[tuple[bytes, bytes]] = ()

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        fields: dict[bytes, bytes] = {}
        for key, value in self._context.invocation_metadata() or ():
            name = key.encode()
            text = b64encode(value) if isinstance(value, bytes) else value.encode()
            fields[name] = fields[name] + b"," + text if name in fields else text
        return fields

    def send(self, message: Message) -> None:
        if not self._is_finished:
            self._outgoing.put_nowait(bytes(message))
            self._unsent_bytes += len(message)
            if self._unsent_bytes > _MAX_UNSENT_BYTES:
                self._has_room.clear()

    def send_parts(self, parts: Parts) -> None:
        self.send(b"".join(parts))

    def finish(
        self,
        status: int = Status.OK,
        text: str = "",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        if not self._is_finished:
            self._is_finished = True
            self._status, self._trailers = (status, text), trailers
            self._outgoing.put_nowait(None)

    async def run(self, service: Service, tasks: asyncio.TaskGroup) -> None:
        """Until the handler finishes the call, or the client leaves."""
        try:
            handler = service(self)
        except Exception as error:
            logger.error("A gRPC handler failed", exc_info=error)
            await self._context.abort(_CODES[Status.INTERNAL], "internal error")
            return
        reading = tasks.create_task(self._read(handler))
        try:
            while (message := await self._outgoing.get()) is not None:
                await self._context.write(message)
                self._unsent_bytes -= len(message)
                if self._unsent_bytes <= _MAX_UNSENT_BYTES:
                    self._has_room.set()
        except grpc.aio.BaseError:
            return  # the client is gone, or the server stops: nobody is left to answer
        finally:
            reading.cancel()
            _tell_end(handler)
        if self._trailers:
            self._context.set_trailing_metadata([_native(*field) for field in self._trailers])
        status, text = self._status
        if status:
            await self._context.abort(_CODES[status], text)

    async def _read(self, handler: Handler) -> None:
        try:
            while not self._is_finished:
                await self._has_room.wait()
                data = await self._context.read()
                if self._is_finished:
                    return
                if not isinstance(data, bytes):
                    handler.half_closed()
                    return
                handler.message(data)
        except grpc.aio.BaseError:
            self.finish(Status.CANCELLED)
        except Exception as error:
            logger.error("A gRPC handler failed", exc_info=error)
            self.finish(Status.INTERNAL, "internal error")


def _tell_end(handler: Handler) -> None:
    try:
        handler.ended()
    except Exception as error:
        logger.error("A gRPC handler failed", exc_info=error)


def _native(name: bytes, value: bytes) -> tuple[str, str | bytes]:
    """A field as grpcio takes it, which encodes binary ones itself."""
    if name.endswith(b"-bin"):
        return name.decode(), b64decode(value + b"==")
    return name.decode(), value.decode()


_CODES = {code.value[0]: code for code in grpc.StatusCode}
