"""The metrics port: ``GET /metrics`` and ``GET /debug/decisions``, plain HTTP."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from epp.telemetry import exposition
from epp.telemetry.decisions import DecisionLog

DEFAULT_LIMIT = 100
_LARGE_BYTES = 64 * 1024
_STOP_SECONDS = 1.0


class MetricsServer:
    """Serves a registry and a decision log.

    ``host`` None means every address, ``port`` 0 any free one. Long pages are made in pieces that
    let other tasks run in between.
    """

    def __init__(
        self, host: str | None, port: int, registry: CollectorRegistry, decisions: DecisionLog
    ) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._decisions = decisions
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port that is served."""
        if self._runner is not None and self._runner.addresses:
            return int(self._runner.addresses[0][1])
        return self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/debug/decisions", self._decisions_page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Close the port and, within a second, its connections; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        pieces = []
        for piece in exposition.chunks(self._registry):
            pieces.append(piece.encode())
            await asyncio.sleep(0)
        return _response(request, b"".join(pieces), exposition.CONTENT_TYPE)

    async def _decisions_page(self, request: web.Request) -> web.Response:
        try:
            limit, request_id = _read_query(request, self._decisions.capacity)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        pieces = []
        for record in self._decisions.find(limit, request_id):
            pieces.append(msgspec.json.encode(record.render()))
            await asyncio.sleep(0)
        body = b"[" + b",\n".join(pieces) + b"]\n"
        return _response(request, body, "application/json")


def _read_query(request: web.Request, capacity: int) -> tuple[int, str | None]:
    """The number of decisions that is wanted, and of which request.

    Raises:
        ValueError: the query makes no sense; the text says why.
    """
    unknown = sorted(set(request.query) - {"limit", "request-id"})
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}: there are 'limit' and 'request-id'")
    text = request.query.get("limit")
    if text is None:
        return min(DEFAULT_LIMIT, capacity), request.query.get("request-id")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValueError(f"'limit' must be a whole number from 1, not {text!r}")
    return int(text), request.query.get("request-id")


def _response(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """An answer, compressed for those who take gzip; a long one in another thread."""
    response = web.Response(
        body=body,
        headers={"Content-Type": content_type, "Vary": "Accept-Encoding"},
        zlib_executor_size=_LARGE_BYTES,
    )
    if _takes_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def _takes_gzip(accepted: str) -> bool:
    for coding in accepted.split(","):
        name, _, parameters = coding.partition(";")
        if name.strip().lower() == "gzip":
            return parameters.replace(" ", "").rstrip("0.").lower() != "q="
    return False
