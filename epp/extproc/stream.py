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

This is the way of FULL_DUPLEX_STREAMED, which the proxies of the Inference Extension use, and of a
proxy that does not tell its mode. In other modes, of which each direction may have its own::

    NONE, STREAMED       decided by the headers; pieces of the body pass as they are
    BUFFERED             headers are noted at once; decided by the body, which is one message
    BUFFERED_PARTIAL     the same; a body that was cut off is not read

A duplex request that sends no body before it was answered (an upgrade, ``Expect: 100-continue``) is
decided by its headers as well. What comes while a decision waits is held. A proxy that only
observes gets no answer, and nothing is counted.

A message that the phase does not allow is not answered: the proxy would count an answer as
spurious and fail the request, as Envoy 1.40 does. Nothing that a proxy or a model server sends
raises.

Source: Envoy ext_proc v3, processing modes; gateway-api-inference-extension 2aaf2a6,
pkg/epp/handlers/server.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from epp.core.decision import Decision
from epp.core.errors import BadRequestError, EppError, InternalError
from epp.core.request import Headers, IncomingRequest
from epp.core.response import Metadata
from epp.exchange import DEBUG_HEADER, Exchange
from epp.extproc.events import (
    MAX_PIECE_BYTES,
    UNTOLD,
    BodyAnswer,
    BodyMode,
    Decide,
    Direction,
    End,
    Event,
    HeadersAnswer,
    ImmediateAnswer,
    Modes,
    Output,
    PassedBody,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    RoutedBody,
    RoutedHeaders,
    TrailersAnswer,
    Unknown,
)
from epp.rpc import Message

_RESPONSE_HEADERS = HeadersAnswer((DEBUG_HEADER,))
_NOTED_HEADERS = HeadersAnswer((), direction=Direction.REQUEST)
_DUPLEX = frozenset({None, BodyMode.FULL_DUPLEX_STREAMED})
_BUFFERED = frozenset({BodyMode.BUFFERED, BodyMode.BUFFERED_PARTIAL})
_BY_HEADERS = frozenset({BodyMode.NONE, BodyMode.STREAMED})
# A body that comes although there should be none is dealt with as in duplex.
_AS_IT_IS = frozenset({BodyMode.STREAMED, BodyMode.BUFFERED, BodyMode.BUFFERED_PARTIAL})
_NOTHING: Sequence[Output] = ()


class Phase(Enum):
    """Where one direction stands."""

    WAITING = auto()
    OPEN = auto()
    PASSING = auto()
    DECIDING = auto()
    DONE = auto()
    ABANDONED = auto()


class Way(Enum):
    """How a request's body is dealt with."""

    COLLECT = auto()
    WHOLE = auto()
    PASS = auto()


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
        "_has_pieces",
        "_headers",
        "_held",
        "_modes",
        "_request",
        "_response",
        "_subset",
        "_way",
    )

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._request = Phase.WAITING
        self._response = Phase.WAITING
        self._headers: Headers = {}
        self._body: list[Message | memoryview] = []
        self._subset: tuple[str, ...] | None = None
        self._had_trailers = False
        self._modes = UNTOLD
        self._way = Way.COLLECT
        self._has_pieces = False
        self._held: Sequence[RequestBody] = ()

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
        if self._way is Way.WHOLE:
            (given,) = self._body
            self._body = []
            is_changed = outcome.body is not None and outcome.body != given
            answers: list[Output] = [RoutedBody(outcome, is_changed)]
        else:
            answers = [RoutedHeaders(outcome)]
            if outcome.body is not None:
                answers += pieces(Direction.REQUEST, outcome.body, end=not self._had_trailers)
        self._request = Phase.PASSING if self._has_pieces else Phase.DONE
        held, self._held = self._held, ()
        for event in held:
            answers += self._pass(event)
        if self._had_trailers:
            self._request = Phase.DONE
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
        self._held = ()
        if self._is_all_told:
            self._end_response()
        self._exchange.close()

    @property
    def _is_all_told(self) -> bool:
        """Whether an answer without an end is complete, as far as the proxy tells of answers."""
        if self._modes.response == BodyMode.NONE:
            return self._response is _OPEN and not self._exchange.has_body
        is_partial = self._modes.response == BodyMode.BUFFERED_PARTIAL
        return is_partial and self._response is Phase.PASSING

    def _refuse(self, error: EppError) -> Sequence[Output]:
        self._request = Phase.ABANDONED
        self._response = Phase.DONE
        self._exchange.failed(error.code, model=error.model)
        return [ImmediateAnswer(error.status, error.body), End()]

    def _request_headers(self, event: RequestHeaders) -> Sequence[Output]:
        if self._request is not Phase.WAITING:
            return _NOTHING
        if self._meet(event.modes):
            return _NOTHING
        self._headers = event.headers
        self._subset = event.subset
        mode = self._modes.request
        if event.end_of_stream:
            self._way = Way.PASS
            return self._decide(None)
        if mode in _BY_HEADERS or (mode in _DUPLEX and _waits_for_answer(event.headers)):
            self._way, self._has_pieces = Way.PASS, mode != BodyMode.NONE
            return self._decide(None)
        self._request = Phase.OPEN
        if mode in _DUPLEX:
            return _NOTHING
        if mode not in _BUFFERED:
            return self._refuse(InternalError(f"request body mode {mode} is not supported"))
        self._way = Way.WHOLE
        return [_NOTED_HEADERS]

    def _meet(self, modes: Modes) -> bool:
        """Take note of the proxy's modes; whether it only observes."""
        self._modes = modes
        if modes.is_observing:
            self._request = self._response = Phase.ABANDONED
        return modes.is_observing

    def _request_body(self, event: RequestBody) -> Sequence[Output]:
        if self._request is Phase.WAITING:  # no headers: some proxies send only the body
            self._request = Phase.OPEN
        if self._way is Way.PASS:
            return self._pass(event)
        if self._request is not Phase.OPEN:
            return _NOTHING
        if self._way is Way.WHOLE:
            return self._whole(event)
        if event.body:
            self._body.append(event.body)
        if not event.end_of_stream:
            return _NOTHING
        return self._complete(event.subset)

    def _whole(self, event: RequestBody) -> Sequence[Output]:
        """A buffered body; one that the proxy cut off cannot be read."""
        body = bytes(event.body)
        self._body = [body]
        if event.subset is not None:
            self._subset = event.subset
        is_cut = self._modes.request == BodyMode.BUFFERED_PARTIAL and not event.end_of_stream
        return self._decide(None if is_cut else body)

    def _pass(self, event: RequestBody) -> Sequence[Output]:
        """A piece that goes on as it is, once it is known where."""
        if self._request is Phase.DECIDING:
            self._held = [*self._held, event]
        if self._request is not Phase.PASSING:
            return _NOTHING
        if event.end_of_stream:
            self._request = Phase.DONE
        if self._modes.request in _DUPLEX:
            return pieces(Direction.REQUEST, event.body, end=event.end_of_stream)
        return [PassedBody(Direction.REQUEST)]

    def _request_trailers(self, event: RequestTrailers) -> Sequence[Output]:
        if self._request is Phase.OPEN and self._way is Way.COLLECT:
            self._had_trailers = True
            return self._complete(event.subset)
        if self._request is Phase.OPEN:
            return self._refuse(BadRequestError("the request has trailers and no body"))
        if self._way is Way.COLLECT or self._had_trailers:
            return _NOTHING
        self._had_trailers = True
        if self._request is Phase.DECIDING:
            return _NOTHING
        is_due = self._request in (Phase.PASSING, Phase.DONE)
        self._request = Phase.DONE if is_due else self._request
        return [TrailersAnswer(Direction.REQUEST)] if is_due else _NOTHING

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
        if self._request is Phase.WAITING and self._meet(event.modes):
            return _NOTHING
        if self._request in (Phase.OPEN, Phase.DECIDING):
            self._request = Phase.ABANDONED
            self._body = []
        added = self._exchange.response_started(event.start)
        self._response = Phase.PASSING if self._modes.response in _AS_IT_IS else _OPEN
        metadata = self._end_response() if event.end_of_stream else ()
        if added or metadata:
            return [HeadersAnswer((DEBUG_HEADER, *added), metadata)]
        return [_RESPONSE_HEADERS]

    def _response_body(self, event: ResponseBody) -> Sequence[Output]:
        if self._response not in (Phase.OPEN, Phase.PASSING):
            return _NOTHING
        passes = self._response is Phase.PASSING
        body, end = event.body, event.end_of_stream
        if body:
            self._exchange.response_chunk(body)
        metadata = self._end_response() if end else ()
        if passes:
            return [PassedBody(Direction.RESPONSE, metadata)]
        if len(body) <= MAX_PIECE_BYTES:
            return [BodyAnswer(Direction.RESPONSE, body, end, metadata)]
        return pieces(Direction.RESPONSE, body, end=end, metadata=metadata)

    def _response_trailers(self, event: ResponseTrailers) -> Sequence[Output]:
        if self._response not in (Phase.OPEN, Phase.PASSING):
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
    direction: Direction,
    body: Message | memoryview,
    *,
    end: bool,
    metadata: tuple[Metadata, ...] = (),
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


def _waits_for_answer(headers: Headers) -> bool:
    """Whether the client sends its body, if any, only after an answer to its headers.

    Envoy answers ``Expect`` by itself, and removes it, unless it is told to let it through.
    """
    return (
        "upgrade" in headers
        or ":protocol" in headers
        or headers.get("expect", b"").lower() == b"100-continue"
    )
