"""Services whose calls are counted, for those who ask for it; nobody else pays for it.

Source: llm-d-router v0.10, ``--enable-grpc-stream-metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from epp.core.clock import Clock
from epp.rpc import Call, Handler, Message, Parts, Service, Services, Status


class Counter(Protocol):
    """Whom to tell; see ``telemetry.stream_metrics.StreamMetrics``."""

    def opened(self) -> None:
        """A stream began."""

    def ended(self, status: int, seconds: float) -> None:
        """A stream is over, after so long."""


def counted(services: Services, counter: Counter, clock: Clock) -> Services:
    """The same services; the counter is told of the begin and the end of every call."""
    return {path: _counted(service, counter, clock) for path, service in services.items()}


def _counted(service: Service, counter: Counter, clock: Clock) -> Service:
    def open_counted(call: Call) -> Handler:
        watched = _CountedCall(call)
        handler = _CountedHandler(service(watched), watched, counter, clock)
        counter.opened()
        return handler

    return open_counted


class _CountedCall:
    """A call that remembers how it was finished; one that never was is cancelled."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.status = int(Status.CANCELLED)

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        return self._call.metadata

    def send(self, message: Message) -> None:
        self._call.send(message)

    def send_parts(self, parts: Parts) -> None:
        self._call.send_parts(parts)

    def finish(
        self,
        status: int = Status.OK,
        text: str = "",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.status = int(status)
        self._call.finish(status, text, trailers)


class _CountedHandler:
    """A handler that tells the counter of its end."""

    def __init__(
        self, handler: Handler, call: _CountedCall, counter: Counter, clock: Clock
    ) -> None:
        self._handler = handler
        self._call = call
        self._counter = counter
        self._clock = clock
        self._began = clock.now()

    def message(self, data: Message) -> None:
        self._handler.message(data)

    def half_closed(self) -> None:
        self._handler.half_closed()

    def ended(self) -> None:
        self._counter.ended(self._call.status, self._clock.now() - self._began)
        self._handler.ended()
