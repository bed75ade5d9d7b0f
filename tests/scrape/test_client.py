"""The client against real sockets."""

from __future__ import annotations

import asyncio
import selectors
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import TypeAlias

import msgspec
import pytest

from epp.scrape.client import MAX_READ_BYTES, MAX_READS, MetricsClient, Target
from epp.scrape.response import (
    ScrapeConnectionError,
    ScrapeError,
    ScrapeResponseError,
    ScrapeTimeoutError,
)
from epp.tls.certificates import make_self_signed

Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HOST = "127.0.0.1"
PAGE = b"vllm:num_requests_waiting 7\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)


class Server:
    """Answers with ``handle``; counts connections and keeps what it was asked."""

    def __init__(self, handle: Handler) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self._handle = handle

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            await self._handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    answer: bytes | Handler, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Server, Target]]:
    """A server that gives each request the same answer, or does what the handler says."""

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(answer, bytes)
        while True:
            server.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()

    server = Server(repeat if isinstance(answer, bytes) else answer)
    listener = await asyncio.start_server(server.serve, HOST, 0, ssl=tls)
    try:
        yield server, Target(HOST, listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        for writer in server.writers:
            writer.close()
        await asyncio.sleep(0.01)


class Fetcher:
    """A client whose fetches can be awaited."""

    def __init__(self, target: Target) -> None:
        self.selector = selectors.DefaultSelector()
        self.client = MetricsClient(target, self.selector, self._done)
        self._results: list[bytes | ScrapeError] = []

    def _done(self, result: bytes | ScrapeError) -> None:
        assert not self._results, "an answer that nobody asked for"
        self._results.append(result)

    async def fetch(self) -> bytes:
        """One fetch; looks at the sockets every millisecond, as the loop does every few."""
        self.client.fetch(monotonic())
        while not self._results:
            assert self.client.is_busy
            await self.look()
            if self.client.is_busy:
                self.client.fetch(monotonic())
        assert not self.client.is_busy
        result = self._results.pop()
        if isinstance(result, ScrapeError):
            raise result
        return result

    async def look(self) -> None:
        await asyncio.sleep(0.001)
        for key, _ in self.selector.select(0):
            key.data.proceed()


@asynccontextmanager
async def fetching(target: Target) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(target)
    with fetcher.selector:
        yield fetcher
        fetcher.client.close()
        assert not fetcher.selector.get_map()


async def test_one_connection_serves_many_fetches() -> None:
    async with serving(OK) as (server, target), fetching(target) as fetcher:
        for _ in range(5):
            assert await fetcher.fetch() == PAGE
        assert server.connections == 1
        host = f"{HOST}:{target.port}".encode()
        assert (
            server.requests
            == [
                b"GET /metrics HTTP/1.1\r\nHost: %b\r\nUser-Agent: epp\r\n"
                b"Accept-Encoding: identity\r\n\r\n" % host
            ]
            * 5
        )


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\n"
            + PAGE
            + b"\r\n0\r\n\r\n",
            1,
        ),
        (OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), 3),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0"), 3),
    ],
)
async def test_connections_are_kept_as_the_answer_says(answer: bytes, connections: int) -> None:
    async with serving(answer) as (server, target), fetching(target) as fetcher:
        for _ in range(3):
            assert await fetcher.fetch() == PAGE
        assert server.connections == connections


async def test_an_answer_may_end_with_its_connection() -> None:
    async def close_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + PAGE)

    async with serving(close_after) as (server, target), fetching(target) as fetcher:
        for _ in range(2):
            assert await fetcher.fetch() == PAGE
        assert server.connections == 2


async def test_a_page_may_come_in_pieces() -> None:
    page = PAGE * 20_000

    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await asyncio.sleep(0.01)
        writer.write(b"ngth: %d\r\n\r\n" % len(page) + page[:10])
        await asyncio.sleep(0.01)
        writer.write(page[10:])
        await reader.read()

    async with serving(in_pieces) as (_, target), fetching(target) as fetcher:
        assert await fetcher.fetch() == page


async def test_a_kept_connection_that_was_closed_is_replaced_at_once() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")  # the next request is met with a closed connection

    async with serving(answer_once) as (server, target), fetching(target) as fetcher:
        for _ in range(4):
            assert await fetcher.fetch() == PAGE
        assert server.connections == 4


async def test_a_connection_closed_while_idle_is_replaced() -> None:
    async with serving(OK) as (server, target), fetching(target) as fetcher:
        assert await fetcher.fetch() == PAGE
        server.writers[0].close()
        await asyncio.sleep(0.02)
        await fetcher.look()
        assert not fetcher.selector.get_map()
        assert await fetcher.fetch() == PAGE
        assert server.connections == 2


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    async with serving(OK) as (server, target), fetching(target) as fetcher:
        assert await fetcher.fetch() == PAGE
        server.writers[0].write(OK)
        await asyncio.sleep(0.02)
        await fetcher.look()
        assert not fetcher.selector.get_map()
        assert await fetcher.fetch() == PAGE
        assert server.connections == 2


async def test_only_a_kept_connection_is_tried_again() -> None:
    async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with serving(close_at_once) as (server, target), fetching(target) as fetcher:
        with pytest.raises(ScrapeConnectionError):
            await fetcher.fetch()
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer", [OK[:-3], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"HTTP"]
)
async def test_an_answer_cut_off_is_a_connection_error(answer: bytes) -> None:
    async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with serving(cut_off) as (_, target), fetching(target) as fetcher:
        for _ in range(2):
            with pytest.raises(ScrapeConnectionError):
                await fetcher.fetch()


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "status 404"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", "larger than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, "larger than 1000 bytes"),
    ],
)
async def test_an_answer_that_is_no_page_is_a_response_error(answer: bytes, rule: str) -> None:
    async with serving(answer) as (_, target):
        target = msgspec.structs.replace(target, max_page_bytes=1000)
        async with fetching(target) as fetcher:
            for _ in range(2):
                with pytest.raises(ScrapeResponseError, match=rule):
                    await fetcher.fetch()


async def test_the_rest_of_an_endless_page_is_not_read() -> None:
    refused = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        finally:
            refused.set()

    async with serving(endless) as (_, target), fetching(target) as fetcher:
        with pytest.raises(ScrapeResponseError, match="larger than"):
            await fetcher.fetch()
        async with asyncio.timeout(5):
            await refused.wait()


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1"])
async def test_a_server_that_says_nothing_times_out(beginning: bytes) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(beginning)
        await reader.read()

    async with serving(hang) as (server, target):
        target = msgspec.structs.replace(target, timeout_seconds=0.05)
        async with fetching(target) as fetcher:
            for _ in range(2):
                with pytest.raises(ScrapeTimeoutError, match=r"no answer within 0\.05 s"):
                    await fetcher.fetch()
            assert server.connections == 2


async def test_only_one_request_is_in_flight() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            server.requests.append(await reader.readuntil(b"\r\n\r\n"))

    async with serving(hang) as (server, target), fetching(target) as fetcher:
        for _ in range(20):
            fetcher.client.fetch(monotonic())
            await fetcher.look()
        assert (server.connections, len(server.requests)) == (1, 1)


async def test_a_server_that_comes_back_is_read_again() -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        target = Target(HOST, listener.getsockname()[1])
        async with fetching(target) as fetcher:
            with pytest.raises(ScrapeConnectionError):
                await fetcher.fetch()
            listener.listen()
            server = Server(answer_once)
            accepting = await asyncio.start_server(server.serve, sock=listener)
            assert await fetcher.fetch() == PAGE
            accepting.close()
            await asyncio.sleep(0.01)


async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)


async def test_a_large_page_is_read_a_part_at_a_time() -> None:
    page = PAGE * 40_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page)
    async with serving(answer) as (_, target), fetching(target) as fetcher:
        fetcher.client.fetch(monotonic())
        looks = 0
        while fetcher.client.is_busy:
            await fetcher.look()
            looks += 1
        assert looks > len(page) / (MAX_READ_BYTES * MAX_READS)


async def test_a_closed_port_is_a_connection_error() -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        target = Target(HOST, free.getsockname()[1])

    async with fetching(target) as fetcher:
        for _ in range(3):
            with pytest.raises(ScrapeConnectionError):
                await fetcher.fetch()


@pytest.mark.parametrize("moment", ["connecting", "waiting"])
async def test_after_closing_nothing_is_reported(moment: str) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(hang) as (_, target), fetching(target) as fetcher:
        fetcher.client.fetch(monotonic())
        for _ in range(5 if moment == "waiting" else 0):
            await fetcher.look()
        fetcher.client.close()
        assert not fetcher.client.is_busy
        for _ in range(5):
            await fetcher.look()


@pytest.fixture(scope="module")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    pair = make_self_signed()
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "tls.crt").write_bytes(pair.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


async def test_a_page_is_read_over_tls(server_tls: ssl.SSLContext) -> None:
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE

    async with serving(OK, server_tls) as (server, target):
        async with fetching(msgspec.structs.replace(target, tls=anyone)) as fetcher:
            for _ in range(3):
                assert await fetcher.fetch() == PAGE
        assert server.connections == 1


async def test_a_certificate_that_does_not_verify_is_a_connection_error(
    server_tls: ssl.SSLContext,
) -> None:
    async with serving(OK, server_tls) as (_, target):
        strict = msgspec.structs.replace(target, tls=ssl.create_default_context())
        async with fetching(strict) as fetcher:
            with pytest.raises(ScrapeConnectionError):
                await fetcher.fetch()


def test_an_ipv6_address_is_bracketed_in_the_request() -> None:
    assert b"\r\nHost: [fd00::1]:8000\r\n" in Target("fd00::1", 8000).request()
