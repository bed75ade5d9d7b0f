"""One HTTP exchange as the proxy tells it: a state machine without I/O.

Theory of operation
-------------------
Each direction goes through the same phases, each on its own::

    WAITING --headers--> OPEN --last piece or trailers--> DONE

The *request* is collected while it is OPEN. When it is complete, ``Decide`` goes out and the
direction is DECIDING until the edge calls ``decided``; then everything that was held back is
answered at once, in the order of the wire: headers, body pieces, trailers. A request that never
gets that far is ABANDONED: the proxy began to answer the client by itself, or an error was sent.

The *response* is answered piece by piece, as it comes. Differs: the Go pickers hold back an answer
that is no event stream until it is complete; since the bytes are not changed there is nothing to
wait for.

A message that the phase does not allow is not answered: the proxy would count an answer as
spurious and fail the request, as Envoy 1.40 does. Nothing that a proxy or a model server sends
raises.

Source: Envoy ext_proc v3, FULL_DUPLEX_STREAMED; gateway-api-inference-extension 2aaf2a6,
pkg/epp/handlers/server.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from epp.core.decision import Decision
from epp.core.errors import EppError, InternalError
from epp.core.request import Headers, IncomingRequest
from epp.core.response import Metadata
from epp.exchange import DEBUG_HEADER, Exchange
from epp.extproc.events import (
    MAX_PIECE_BYTES,
    BodyAnswer,
    BodyMode,
    Decide,
    Direction,
    End,
    Event,
    HeadersAnswer,
    ImmediateAnswer,
    Output,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    RoutedHeaders,
    TrailersAnswer,
    Unknown,
)
from epp.rpc import Message

_RESPONSE_HEADERS = HeadersAnswer((DEBUG_HEADER,))
_NOTHING: Sequence[Output] = ()


class Phase(Enum):
    """Where one direction stands."""

    WAITING = auto()
    OPEN = auto()
    DECIDING = auto()
    DONE = auto()
    ABANDONED = auto()


_OPEN = Phase.OPEN  # asked for with every chunk, and 50 ns to look up


class Stream:
    """Feed it what the proxy sends; it gives back what is due now.

    ``half_closed`` and ``cancelled`` say that nothing more will come; ``closed`` has to be called
    when the stream is over, and releases what the exchange holds.
    """

    __slots__ = (
        "_body",
        "_exchange",
        "_had_trailers",
        "_headers",
        "_request",
        "_response",
        "_subset",
    )

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._request = Phase.WAITING
        self._response = Phase.WAITING
        self._headers: Headers = {}
        self._body: list[Message | memoryview] = []
        self._subset: tuple[str, ...] | None = None
        self._had_trailers = False

    @property
    def is_deciding(self) -> bool:
        """Whether the edge owes this stream a call of ``decided``."""
        return self._request is Phase.DECIDING

    @property
    def is_answering(self) -> bool:
        """Whether the model server's body is passing by."""
        return self._response is _OPEN

    @property
    def exchange(self) -> Exchange:
        """What is remembered of this request and its answer."""
        return self._exchange

    def receive(self, event: Event) -> Sequence[Output]:
        """The answers that are due after this message."""
        handler: Callable[[Stream, Any], Sequence[Output]] = _HANDLERS[type(event)]
        return handler(self, event)

    def decided(self, outcome: Decision | EppError) -> Sequence[Output]:
        """The result of ``Decide``; not answered when the proxy no longer waits for it."""
        if self._request is not Phase.DECIDING:
            return _NOTHING
        if isinstance(outcome, EppError):
            return self._refuse(outcome)
        self._request = Phase.DONE
        answers: list[Output] = [RoutedHeaders(outcome)]
        if outcome.body is not None:
            answers += pieces(Direction.REQUEST, outcome.body, end=not self._had_trailers)
        if self._had_trailers:
            answers.append(TrailersAnswer(Direction.REQUEST))
        self._exchange.routed(outcome)
        return answers

    def half_closed(self) -> Sequence[Output]:
        """The proxy will send no more; what is still being decided is answered all the same.

        Ending well while a body is held back would make the proxy forward an empty one, so a
        request that can no longer be completed ends in an error.
        """
        if self._request is Phase.OPEN:
            return [End("the request ended before its body was complete")]
        return _NOTHING if self._request is Phase.DECIDING else [End()]

    def closed(self) -> None:
        """The stream is over, whoever ended it."""
        if self._request in (Phase.OPEN, Phase.DECIDING):
            self._request = Phase.ABANDONED
        self._body.clear()
        self._exchange.close()

    def _refuse(self, error: EppError) -> Sequence[Output]:
        self._request = Phase.ABANDONED
        self._response = Phase.DONE
        self._exchange.failed(error.code, model=error.model)
        return [ImmediateAnswer(error.status, error.body), End()]

    def _request_headers(self, event: RequestHeaders) -> Sequence[Output]:
        if self._request is not Phase.WAITING:
            return _NOTHING
        self._headers = event.headers
        self._subset = event.subset
        if event.end_of_stream:
            return self._decide(None)
        mode = event.body_mode
        if mode is not None and mode != BodyMode.FULL_DUPLEX_STREAMED:
            return self._refuse(InternalError(_unsupported(mode)))
        self._request = Phase.OPEN
        return _NOTHING

    def _request_body(self, event: RequestBody) -> Sequence[Output]:
        if self._request is Phase.WAITING:  # no headers: some proxies send only the body
            self._request = Phase.OPEN
        if self._request is not Phase.OPEN:
            return _NOTHING
        if event.body:
            self._body.append(event.body)
        if not event.end_of_stream:
            return _NOTHING
        return self._complete(event.subset)

    def _request_trailers(self, event: RequestTrailers) -> Sequence[Output]:
        if self._request is not Phase.OPEN:
            return _NOTHING
        self._had_trailers = True
        return self._complete(event.subset)

    def _complete(self, subset: tuple[str, ...] | None) -> Sequence[Output]:
        if subset is not None:
            self._subset = subset
        body = b"".join(self._body)  # the only copy on a body's way from its messages
        self._body = []
        return self._decide(body)

    def _decide(self, body: bytes | None) -> Sequence[Output]:
        self._request = Phase.DECIDING
        request = IncomingRequest(headers=self._headers, body=body, subset=self._subset)
        self._headers, self._subset = {}, None  # a long answer need not keep them
        return [Decide(request)]

    def _response_headers(self, event: ResponseHeaders) -> Sequence[Output]:
        if self._response is not Phase.WAITING:
            return _NOTHING
        if self._request in (Phase.OPEN, Phase.DECIDING):
            self._request = Phase.ABANDONED
            self._body = []
        added = self._exchange.response_started(event.start)
        self._response = Phase.OPEN
        metadata = self._end_response() if event.end_of_stream else ()
        if added or metadata:
            return [HeadersAnswer((DEBUG_HEADER, *added), metadata)]
        return [_RESPONSE_HEADERS]

    def _response_body(self, event: ResponseBody) -> Sequence[Output]:
        if self._response is not Phase.OPEN:
            return _NOTHING
        body, end = event.body, event.end_of_stream
        if body:
            self._exchange.response_chunk(body)
        metadata = self._end_response() if end else ()
        if len(body) <= MAX_PIECE_BYTES:
            return [BodyAnswer(Direction.RESPONSE, body, end, metadata)]
        return pieces(Direction.RESPONSE, body, end=end, metadata=metadata)

    def _response_trailers(self, event: ResponseTrailers) -> Sequence[Output]:
        if self._response is not Phase.OPEN:
            return _NOTHING
        return [TrailersAnswer(Direction.RESPONSE, self._end_response())]

    def _end_response(self) -> tuple[Metadata, ...]:
        self._response = Phase.DONE
        return self._exchange.response_ended()

    def _ignore(self, event: Unknown) -> Sequence[Output]:
        return _NOTHING


_HANDLERS: dict[type[Any], Callable[[Stream, Any], Sequence[Output]]] = {
    RequestHeaders: Stream._request_headers,
    RequestBody: Stream._request_body,
    RequestTrailers: Stream._request_trailers,
    ResponseHeaders: Stream._response_headers,
    ResponseBody: Stream._response_body,
    ResponseTrailers: Stream._response_trailers,
    Unknown: Stream._ignore,
}


def pieces(
    direction: Direction, body: Message, *, end: bool, metadata: tuple[Metadata, ...] = ()
) -> Sequence[Output]:
    """``body`` in pieces of at most 62,000 bytes without copying it; an empty one is one piece."""
    view = memoryview(body)
    last = max(0, len(body) - 1) // MAX_PIECE_BYTES
    return [
        BodyAnswer(
            direction,
            view[i * MAX_PIECE_BYTES : (i + 1) * MAX_PIECE_BYTES],
            end and i == last,
            metadata if i == last else (),
        )
        for i in range(last + 1)
    ]


def _unsupported(mode: int) -> str:
    name = {known.value: known.name for known in BodyMode}.get(mode, str(mode))
    return f"request body mode {name} is not supported, use FULL_DUPLEX_STREAMED"
