"""A fast fake model server: many endpoints in one process, ``python -m benchmarks.backend``.

Answers ``POST /v1/completions`` with a fixed text, or with server-sent events when the body asks
for a stream; ``GET /metrics`` with a vLLM page. Like an engine, an endpoint makes one step every
few milliseconds and each step sends one event to every open stream.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import ipaddress
import re
from collections.abc import Sequence
from typing import cast

import msgspec
import uvloop

from benchmarks.page import MetricsPage

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
CHUNKS = 100
STEP_SECONDS = 0.002


def _answer_json(choices: list[dict[str, object]], usage: dict[str, int] | None) -> bytes:
    head = {"id": "cmpl-0123456789abcdef", "object": "text_completion", "created": 1763493060}
    return msgspec.json.encode({**head, "model": MODEL, "choices": choices, "usage": usage})


_USAGE = {"prompt_tokens": 12, "total_tokens": 112, "completion_tokens": 100}
_CHOICE = {"index": 0, "text": " the rest of the story.", "finish_reason": "stop"}
_DELTA = {"index": 0, "text": " token", "finish_reason": None}

COMPLETION = _answer_json([_CHOICE], _USAGE)
EVENT = b"data: %s\n\n" % _answer_json([_DELTA], None)
LAST_EVENTS = b"data: %s\n\ndata: [DONE]\n\n" % _answer_json([], _USAGE)
STREAM = EVENT * CHUNKS + LAST_EVENTS
STREAM_EVENTS = CHUNKS + 2

_ASKS_FOR_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _response(status: bytes, content_type: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
    return head % (status, content_type, len(body)) + body


_OK = _response(b"200 OK", b"application/json", COMPLETION)
_NOT_FOUND = _response(b"404 Not Found", b"text/plain", b"")
_BAD_BODY = _response(b"400 Bad Request", b"text/plain", b"the body is no JSON object\n")
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_EVENT_CHUNK = _chunk(EVENT)
_LAST_CHUNKS = _chunk(LAST_EVENTS) + b"0\r\n\r\n"


class Steps:
    """The streams of one endpoint: each step sends an event to all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left: dict[Connection, int] = {}
        self._next = 0.0

    def add(self, connection: Connection) -> None:
        if not self._left:
            self._next = self._loop.time() + STEP_SECONDS
            self._loop.call_at(self._next, self._step)
        self._left[connection] = CHUNKS

    def discard(self, connection: Connection) -> None:
        self._left.pop(connection, None)

    def _step(self) -> None:
        for connection, left in list(self._left.items()):
            if left:
                connection.write(_EVENT_CHUNK)
                self._left[connection] = left - 1
            else:
                del self._left[connection]
                connection.write(_LAST_CHUNKS)
        if self._left:
            self._next += STEP_SECONDS
            self._loop.call_at(self._next, self._step)


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests come one after the other."""

    def __init__(self, pages: Sequence[MetricsPage], index: int, steps: Steps) -> None:
        self._pages = pages
        self._page = pages[index]
        self._steps = steps
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._steps.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            if _CHUNKED.search(head):
                # The end of a body is looked for at the end of what came: nothing is pipelined.
                if not self._received.endswith(b"0\r\n\r\n"):
                    return
                body = _dechunk(bytes(self._received[end + 4 :]))
                if body is None:
                    return
                self._received.clear()
            else:
                length = _LENGTH.search(head)
                size = int(length[1]) if length else 0
                if len(self._received) < end + 4 + size:
                    return
                body = bytes(self._received[end + 4 : end + 4 + size])
                del self._received[: end + 4 + size]
            self._answer(head, body)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /metrics "):
            self.write(_response(b"200 OK", b"text/plain; version=0.0.4", self._page.read()))
        elif head.startswith(b"GET /reads "):
            # For the benchmark itself: how often pages were read, of all endpoints.
            reads = sum(page.reads for page in self._pages)
            self.write(_response(b"200 OK", b"text/plain", b"%d" % reads))
        elif head.startswith(b"GET /health "):
            self.write(_response(b"200 OK", b"text/plain", b""))
        elif not head.startswith(b"POST /v1/completions "):
            self.write(_NOT_FOUND)
        elif not (body.startswith(b"{") and body.endswith(b"}")):
            self.write(_BAD_BODY)
        elif _ASKS_FOR_STREAM.search(body):
            self.write(_STREAM_HEAD)
            self._steps.add(self)
        else:
            self.write(_OK)


def _dechunk(data: bytes) -> bytes | None:
    """The body in a chunked message; None when the message is not complete."""
    parts: list[bytes] = []
    position = 0
    while (end := data.find(b"\r\n", position)) >= 0:
        size = int(data[position:end].partition(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(data[end + 2 : end + 2 + size])
        position = end + 2 + size + 2
    return None


def places(first_port: int, count: int, *, one_port: bool) -> list[tuple[str, int]]:
    """Addresses and ports: neighbouring ports of 127.0.0.1, or one port of 127.0.1.1 and on.

    The latter is what the pods of a cluster look like; it needs Linux, where all of 127.0.0.0/8 is
    the machine itself.
    """
    if one_port:
        first = ipaddress.IPv4Address("127.0.1.1")
        return [(str(first + index), first_port) for index in range(count)]
    return [("127.0.0.1", first_port + index) for index in range(count)]


async def serve(addresses: Sequence[tuple[str, int]]) -> None:
    """Serve an endpoint at each of these until cancelled."""
    loop = asyncio.get_running_loop()
    pages = [MetricsPage(seed) for seed in range(len(addresses))]
    for index, (address, port) in enumerate(addresses):
        await loop.create_server(
            functools.partial(Connection, pages, index, Steps(loop)),
            address,
            port,
            backlog=1024,
        )
    await asyncio.Event().wait()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backend", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the first port")
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--one-port", action="store_true", help="many addresses, not many ports")
    options = parser.parse_args()
    uvloop.run(serve(places(options.port, options.endpoints, one_port=options.one_port)))


if __name__ == "__main__":
    main()
