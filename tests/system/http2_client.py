"""An HTTP/2 client with prior knowledge that can send request trailers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events


async def exchange(
    port: int,
    path: str,
    body: bytes,
    *,
    trailers: Sequence[tuple[str, str]] = (),
    timeout_seconds: float = 20,
) -> dict[str, Any]:
    """POST ``body``; the answer's ``status``, ``body``, ``headers`` and ``trailers``."""
    async with asyncio.timeout(timeout_seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await _exchange(reader, writer, path, body, trailers)
        finally:
            writer.close()
            await writer.wait_closed()


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    path: str,
    body: bytes,
    trailers: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(
        stream,
        [
            (":method", "POST"),
            (":path", path),
            (":scheme", "http"),
            (":authority", "pool.test"),
            ("content-type", "application/json"),
        ],
    )
    connection.send_data(stream, body, end_stream=not trailers)
    if trailers:
        connection.send_headers(stream, list(trailers), end_stream=True)
    writer.write(connection.data_to_send())
    answer: dict[str, Any] = {"status": 0, "headers": {}, "body": b"", "trailers": {}}
    while True:
        data = await reader.read(65_536)
        if not data:
            raise ConnectionError("closed before the answer was complete")
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                answer["headers"] = dict(event.headers)
                answer["status"] = int(answer["headers"][b":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer["body"] += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.TrailersReceived):
                answer["trailers"] = dict(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                return answer
            elif isinstance(event, h2.events.StreamReset):
                raise ConnectionError(f"stream reset: {event.error_code}")
        writer.write(connection.data_to_send())
