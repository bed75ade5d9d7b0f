"""What a proxy says and what it is answered: immutable, and free of protobuf.

``RequestHeaders`` ... ``ResponseTrailers`` come in; the classes below them go out. ``Decide`` is
for the edge, not for the wire.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import msgspec

from epp.core.decision import Decision
from epp.core.request import Headers, IncomingRequest
from epp.core.response import Metadata, ResponseStart
from epp.rpc import Message

MAX_PIECE_BYTES = 62_000
"""The longest piece of a body that goes into one answer."""


class BodyMode(IntEnum):
    """How the proxy sends a body; the numbers are the wire's."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4
    GRPC = 5


class Modes(NamedTuple):
    """How the proxy sends the bodies of the two directions; None where it does not tell.

    ``is_observing`` is whether it sends copies only, and waits for no answer.
    """

    request: int | None = None
    response: int | None = None
    is_observing: bool = False


UNTOLD = Modes()


class Direction(IntEnum):
    """Towards the model server, or back to the client."""

    REQUEST = 0
    RESPONSE = 1


class RequestHeaders(msgspec.Struct, frozen=True):
    """The client's headers."""

    headers: Headers
    end_of_stream: bool
    subset: tuple[str, ...] | None = None
    modes: Modes = UNTOLD


class RequestBody(msgspec.Struct, frozen=True):
    """A piece of the client's body. ``subset`` is read only from the last piece."""

    body: Message | memoryview
    end_of_stream: bool
    subset: tuple[str, ...] | None = None


class RequestTrailers(msgspec.Struct, frozen=True):
    """The client's trailers: the end of a body that had no last piece."""

    subset: tuple[str, ...] | None = None


class ResponseHeaders(msgspec.Struct, frozen=True):
    """The model server's headers."""

    start: ResponseStart
    end_of_stream: bool
    modes: Modes = UNTOLD


class ResponseBody(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model server's body."""

    body: Message
    end_of_stream: bool


class ResponseTrailers(msgspec.Struct, frozen=True):
    """The model server's trailers."""


class Unknown(msgspec.Struct, frozen=True):
    """A message of a kind that this protocol version does not know, or an empty one."""


Event: TypeAlias = (
    RequestHeaders
    | RequestBody
    | RequestTrailers
    | ResponseHeaders
    | ResponseBody
    | ResponseTrailers
    | Unknown
)


class Decide(msgspec.Struct, frozen=True):
    """The request is complete: the edge shall have it decided and tell the stream the result."""

    request: IncomingRequest


class RoutedHeaders(msgspec.Struct, frozen=True):
    """The answer to the request's headers: where it goes, and what changes in it."""

    decision: Decision


class RoutedBody(msgspec.Struct, frozen=True):
    """The answer to a whole body: where the request goes, and what changes in it.

    ``is_changed`` is whether the body is another one.
    """

    decision: Decision
    is_changed: bool


class HeadersAnswer(msgspec.Struct, frozen=True):
    """The answer to headers, by default those of the response."""

    set_headers: tuple[tuple[str, bytes], ...]
    metadata: tuple[Metadata, ...] = ()
    direction: Direction = Direction.RESPONSE


class BodyAnswer(msgspec.Struct, frozen=True, gc=False):
    """One piece of a body on its way on, at most 62,000 bytes; the last may bring metadata."""

    direction: Direction
    body: Message | memoryview
    end_of_stream: bool
    metadata: tuple[Metadata, ...] = ()


class PassedBody(msgspec.Struct, frozen=True):
    """A piece of a body, or all of it, goes on as the proxy has it."""

    direction: Direction
    metadata: tuple[Metadata, ...] = ()


class TrailersAnswer(msgspec.Struct, frozen=True):
    """Trailers go on unchanged."""

    direction: Direction
    metadata: tuple[Metadata, ...] = ()


class ImmediateAnswer(msgspec.Struct, frozen=True):
    """The client gets this instead, and the stream is over."""

    status: int
    body: str


class End(msgspec.Struct, frozen=True):
    """The stream has to end now; ``problem`` is empty when all is well."""

    problem: str = ""


Answer: TypeAlias = (
    RoutedHeaders
    | RoutedBody
    | HeadersAnswer
    | BodyAnswer
    | PassedBody
    | TrailersAnswer
    | ImmediateAnswer
)
Output: TypeAlias = Answer | Decide | End
