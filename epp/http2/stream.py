"""One stream: a gRPC call between the frames of HTTP/2 and a handler.

A gRPC message is a byte (1: compressed), its length in 4 bytes, and so many bytes; messages and
DATA frames need not end together. No task, future or lock belongs to a stream: what comes in calls
the handler, what the handler sends goes to the connection's sender.

Source: gRPC over HTTP/2.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from epp.http2.frames import ErrorCode, read_u32, rst_stream, window_update
from epp.http2.headers import (
    NOT_GRPC_HEADERS,
    RESPONSE_HEADERS,
    HeaderFields,
    encode_trailers,
)
from epp.http2.hpack import literal_field
from epp.http2.limits import Limits
from epp.http2.sender import Sender
from epp.http2.window import ReceiveWindow
from epp.rpc import Handler, Message, Parts, Service, Status

logger = logging.getLogger("http2")

_MESSAGE_HEAD_BYTES = 5
_IDENTITY_ONLY = ((b"grpc-accept-encoding", b"identity"),)
_NOT_GRPC_BODY = b"only gRPC is served here\n"


class Host(Protocol):
    """What a stream needs of its connection; ``partial_bytes`` are those of unfinished messages."""

    sender: Sender
    limits: Limits
    partial_bytes: int

    def closed(self, stream: Stream) -> None:
        """The stream is over."""


class Stream:
    """One call.

    ``window`` and the queue are the sender's, ``receive_window`` and ``head`` the connection's.
    ``is_half_closed``: the client will send no more; its last message may not be told yet.
    ``has_answered``: something was sent back. ``is_over``: nothing more happens.
    """

    __slots__ = (
        "_content_left",
        "_host",
        "_missing",
        "_partial",
        "_split_head",
        "_tail",
        "cancel_timer",
        "handler",
        "has_answered",
        "head",
        "id",
        "is_half_closed",
        "is_over",
        "opened_at_tick",
        "queue",
        "queued_bytes",
        "receive_window",
        "window",
    )

    def __init__(self, host: Host, stream_id: int, head: HeaderFields) -> None:
        self.id = stream_id
        self.window = host.sender.initial_window
        self.receive_window = ReceiveWindow(host.limits.stream_window_bytes)
        self.queued_bytes = 0
        self.queue: deque[bytes | bytearray | memoryview] | None = None
        self.handler: Handler | None = None
        self.opened_at_tick = 0
        self.cancel_timer: Callable[[], None] | None = None
        self.is_half_closed = False
        self.has_answered = False
        self.is_over = False
        self._host = host
        self.head = head
        self._content_left = head.content_length
        self._partial: bytearray | None = None
        self._missing = 0
        self._split_head = b""
        self._tail: bytes | None = None

    # What a service calls.

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        return self.head.fields

    def send_metadata(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        if not self.is_over and not self.has_answered:
            self._begin_answer(b"".join([literal_field(name, value) for name, value in pairs]))

    def send(self, message: Message) -> None:
        if self.is_over or self._tail is not None:
            return
        if not self.has_answered:
            self._begin_answer()
        self._host.sender.message(self, message)

    def send_parts(self, parts: Parts) -> None:
        if self.is_over or self._tail is not None:
            return
        if not self.has_answered:
            self._begin_answer()
        self._host.sender.message_parts(self, parts)

    def finish(
        self,
        status: int = Status.OK,
        text: str = "",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        if self.is_over or self._tail is not None:
            return
        block = encode_trailers(status, text, trailers)
        if not self.has_answered:
            self.has_answered = True
            block = RESPONSE_HEADERS + block
        self._finish_with(block)

    # What the connection calls.

    def open(self, service: Service) -> None:
        """Let the service handle the call."""
        try:
            handler = service(self)
        except Exception as error:
            self._handler_failed(error)
            return
        if self.is_over:  # it has answered already, and that was all
            _tell_end(handler)
        else:
            self.handler = handler

    def data(self, data: bytes, start: int, end: int) -> None:
        """A part of the request, ``data[start:end]``.

        The usual case is one whole message, which costs one copy and one call.
        """
        handler = self.handler
        if handler is None or self._tail is not None:
            return
        if self._partial is None and not self._split_head and end - start >= _MESSAGE_HEAD_BYTES:
            size = read_u32(data, start + 1)[0]
            if (
                start + _MESSAGE_HEAD_BYTES + size == end
                and not data[start]
                and size <= self._host.limits.max_message_bytes
            ):
                self._tell(handler, data[start + _MESSAGE_HEAD_BYTES : end])
                return
        self._reassemble(data, start, end)

    def takes_content(self, size: int, *, ends: bool) -> bool:
        """Whether so many bytes fit the content length that the client announced, if it did."""
        if self._content_left is None:
            return True
        self._content_left -= size
        return self._content_left == 0 if ends else self._content_left >= 0

    def half_closed(self) -> None:
        """Everything that the client sent has been told."""
        handler = self.handler
        if handler is None:
            if not self.is_over and not self.head.is_grpc:
                self._refuse_plain_http()
        elif self._tail is not None:
            return  # it has finished, and waits only for the client to take its answers
        elif self._partial is not None or self._split_head:
            self.abandon(Status.INTERNAL, "the request ends within a message")
        else:
            try:
                handler.half_closed()
            except Exception as error:
                self._handler_failed(error)

    def credit(self) -> None:
        """Allow the client more, if it takes our answers; half a window has come in."""
        host = self._host
        if self.is_over or self.is_half_closed:
            return
        if self.queued_bytes < host.limits.max_unsent_bytes:
            host.sender.control(window_update(self.id, self.receive_window.refill()))

    def sent(self) -> None:
        """The sender got rid of something that was queued."""
        if not self.queued_bytes and self._tail is not None:
            self._end()
        elif self.receive_window.is_due:
            self.credit()

    def expire(self) -> None:
        """The client's deadline has passed."""
        self.abandon(Status.DEADLINE_EXCEEDED, "deadline exceeded")

    def abandon(
        self, status: Status, text: str, trailers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """End the call without the handler having a say."""
        handler, self.handler = self.handler, None
        self._drop_partial()
        self.finish(status, text, trailers)
        if handler is not None:
            _tell_end(handler)

    def reset(self, code: ErrorCode) -> None:
        """End the stream with an error of HTTP/2."""
        if not self.is_over:
            self._host.sender.control(rst_stream(self.id, code))
            self.close()

    def close(self) -> None:
        """Nothing more happens on this stream, whoever ended it."""
        if self.is_over:
            return
        self.is_over = True
        self._drop_partial()
        self._host.sender.forget(self)
        self._host.closed(self)
        if self.cancel_timer is not None:
            self.cancel_timer()
            self.cancel_timer = None
        handler, self.handler = self.handler, None  # they refer to each other
        if handler is not None:
            _tell_end(handler)

    def _tell(self, handler: Handler, message: Message) -> None:
        try:
            handler.message(message)
        except Exception as error:
            self._handler_failed(error)

    def _reassemble(self, data: bytes, start: int, end: int) -> None:
        """Messages that do not fill their frames; one that spans several is a ``bytearray``."""
        if self._split_head:
            data = self._split_head + data[start:end]
            start, end, self._split_head = 0, len(data), b""
        while True:
            if self._partial is not None:
                start = self._continue_message(self._partial, data, start, end)
            if self._partial is not None or self.handler is None or self._tail is not None:
                return
            if end - start < _MESSAGE_HEAD_BYTES:
                self._split_head = data[start:end]
                return
            is_compressed, size = data[start], read_u32(data, start + 1)[0]
            if is_compressed:
                # Differs: the Go pickers take gzip, which no gateway sends.
                self.abandon(
                    Status.UNIMPLEMENTED, "compressed messages are not supported", _IDENTITY_ONLY
                )
                return
            if size > self._host.limits.max_message_bytes:
                limit = self._host.limits.max_message_bytes
                self.abandon(Status.RESOURCE_EXHAUSTED, f"a message of {size} bytes, over {limit}")
                return
            start += _MESSAGE_HEAD_BYTES
            if start + size <= end:
                self._tell(self.handler, data[start : start + size])
                start += size
            else:
                self._partial = bytearray()
                self._missing = size

    def _continue_message(self, partial: bytearray, data: bytes, start: int, end: int) -> int:
        """Add what belongs to the message; tell it when it is complete; where the next one is."""
        taken = min(end - start, self._missing)
        partial += memoryview(data)[start : start + taken]
        self._missing -= taken
        host = self._host
        host.partial_bytes += taken
        if not self._missing:
            self._drop_partial()
            if self.handler is not None:
                self._tell(self.handler, partial)
        elif host.partial_bytes > host.limits.max_partial_bytes:
            self.abandon(Status.RESOURCE_EXHAUSTED, "too many bytes of unfinished messages")
        return start + taken

    def _drop_partial(self) -> None:
        if self._partial is not None:
            self._host.partial_bytes -= len(self._partial)
            self._partial = None
        self._split_head = b""

    def _begin_answer(self, more: bytes = b"") -> None:
        self.has_answered = True
        self._host.sender.headers(self.id, RESPONSE_HEADERS + more, end=False)

    def _handler_failed(self, error: Exception) -> None:
        logger.error("A gRPC handler failed", exc_info=error)
        self.abandon(Status.INTERNAL, "internal error")

    def _refuse_plain_http(self) -> None:
        """A request that is no gRPC gets its answer when it is complete."""
        self.has_answered = True
        self._host.sender.headers(self.id, NOT_GRPC_HEADERS, end=False)
        self._tail = b""
        self._host.sender.raw(self, (_NOT_GRPC_BODY,))

    def _finish_with(self, block: bytes) -> None:
        self._tail = block
        if self.queued_bytes:
            self._drop_partial()
        else:
            self._end()

    def _end(self) -> None:
        """Everything is sent: close our side, and the client's too if it is still open."""
        sender = self._host.sender
        if self._tail:
            sender.headers(self.id, self._tail, end=True)
        else:
            sender.end(self.id)
        if not self.is_half_closed:
            sender.control(rst_stream(self.id, ErrorCode.NO_ERROR))  # it need not go on
        self.close()


def _tell_end(handler: Handler) -> None:
    """What goes wrong here must not keep the connection from its other streams."""
    try:
        handler.ended()
    except Exception as error:
        logger.error("A gRPC handler failed", exc_info=error)
