"""What a gRPC service and the transport that carries it say to each other: plain callbacks.

A service is a function that opens a ``Handler`` for each call; the transport tells the handler what
the client sends, and the handler answers through the ``Call``. Nothing here waits: whoever needs
time keeps the call and answers later.

Source: gRPC over HTTP/2; gRPC status codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Protocol, TypeAlias

Message: TypeAlias = bytes | bytearray
"""One serialised message. A ``bytearray`` belongs to whoever is handed it."""

Parts: TypeAlias = Sequence[bytes | bytearray | memoryview]
"""One serialised message in pieces, so that long ones need not be joined."""


class Status(IntEnum):
    """How a call ended; the numbers are the wire's."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Call(Protocol):
    """One call, from the service's side; after its end every method does nothing."""

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """The client's header fields, names in lower case, repeated ones joined by commas.

        Here and in trailers, values of names that end in ``-bin`` are base64, as on the wire.
        """

    def send(self, message: Message) -> None:
        """Send one message; what the client does not take yet is kept."""

    def send_parts(self, parts: Parts) -> None:
        """Send one message that consists of these parts, which must not change any more."""

    def finish(
        self,
        status: int = Status.OK,
        text: str = "",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """End the call, after everything that was sent."""


class Handler(Protocol):
    """The service's side of one call; ``ended`` comes last and exactly once.

    After ``Call.finish`` nothing else is told, even while the client still takes answers.
    What a method raises is logged, and ends the call with ``INTERNAL``.
    """

    def message(self, data: Message) -> None:
        """The client sent a message."""

    def half_closed(self) -> None:
        """The client will send no more, and still takes answers."""

    def ended(self) -> None:
        """The call is over: finished, cancelled, timed out, or the connection is gone."""


Service: TypeAlias = Callable[[Call], Handler]

Services: TypeAlias = Mapping[str, Service]
"""Services by path: ``/package.Service/Method``."""
