"""The metrics port: ``GET /metrics`` and what is under ``/debug``."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from epp.telemetry import exposition, logs
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.profile import DEFAULT_SECONDS, MAX_SECONDS, Profiler, ProfilerBusyError

DEFAULT_LIMIT = 100
_LARGE_BYTES = 64 * 1024
_STOP_SECONDS = 1.0

logger = logging.getLogger("metrics")


class Refusal(NamedTuple):
    """Why a request is not answered: the HTTP status and one line."""

    status: int
    text: str


class Authorize(Protocol):
    """Decides about a request by its method, its path and its Authorization header."""

    async def __call__(self, method: str, path: str, authorization: str) -> Refusal | None:
        """None if it may be answered; the header is empty where there is none."""


class MetricsServer:
    """Serves a registry, a decision log and, where there is a profiler, CPU profiles.

    ``pages`` are further paths, each with what makes its page of JSON when it is asked for.
    ``host`` None means every address, ``port`` 0 any free one; without ``tls`` it is plain HTTP.
    Long pages are made in pieces that let other tasks run in between.
    ``authorize`` is asked before anything else, for paths that do not exist, too; without it
    everybody may read.
    """

    def __init__(
        self,
        host: str | None,
        port: int,
        registry: CollectorRegistry,
        decisions: DecisionLog,
        profiler: Profiler | None = None,
        *,
        pages: Mapping[str, Callable[[], Any]] | None = None,
        tls: ssl.SSLContext | None = None,
        authorize: Authorize | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._decisions = decisions
        self._profiler = profiler
        self._pages = pages or {}
        self._tls = tls
        self._authorize = authorize
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
        app = web.Application(middlewares=[self._guard] if self._authorize else [])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/debug/decisions", self._decisions_page)
        for path, describe in self._pages.items():
            app.router.add_get(path, _json_page(describe))
        if self._profiler is not None:
            app.router.add_get("/debug/profile", self._profile, allow_head=False)
            # where Go's tools look; what they get is text all the same
            app.router.add_get("/debug/pprof/profile", self._profile, allow_head=False)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=self._tls).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Close the port and, within a second, its connections; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        assert self._authorize is not None
        authorization = request.headers.get("Authorization", "")
        try:
            refusal = await self._authorize(request.method, request.path, authorization)
        except Exception as error:
            logs.error(logger, "Failed to authorize a metrics request", error=repr(error))
            refusal = Refusal(500, "Authentication failed")
        if refusal is None:
            return await handler(request)
        return web.Response(status=refusal.status, text=f"{refusal.text}\n")

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

    async def _profile(self, request: web.Request) -> web.Response:
        assert self._profiler is not None
        try:
            seconds, form = _read_profile_query(request)
            profile = await self._profiler.run(seconds)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        except ProfilerBusyError as error:
            return web.Response(status=409, text=f"{error}\n")
        text = profile.top() if form == "top" else profile.collapsed()
        return _response(request, text.encode(), "text/plain; charset=utf-8")


def _json_page(
    describe: Callable[[], Any],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        body = msgspec.json.format(msgspec.json.encode(describe(), enc_hook=str))
        return _response(request, body + b"\n", "application/json")

    return page


def _read_query(request: web.Request, capacity: int) -> tuple[int, str | None]:
    """The number of decisions that is wanted, and of which request.

    Raises:
        ValueError: the query makes no sense; the text says why.
    """
    _check_names(request, "limit", "request-id")
    limit = _whole(request, "limit", min(DEFAULT_LIMIT, capacity))
    return limit, request.query.get("request-id")


def _read_profile_query(request: web.Request) -> tuple[int, str]:
    """How many seconds to look, and how to tell it.

    Raises:
        ValueError: as ``_read_query``.
    """
    _check_names(request, "seconds", "format")
    seconds = _whole(request, "seconds", DEFAULT_SECONDS)
    if seconds > MAX_SECONDS:
        raise ValueError(f"'seconds' must be at most {MAX_SECONDS}, not {seconds}")
    form = request.query.get("format", "collapsed")
    if form not in ("collapsed", "top"):
        raise ValueError(f"'format' must be 'collapsed' or 'top', not {form!r}")
    return seconds, form


def _check_names(request: web.Request, first: str, second: str) -> None:
    unknown = sorted(set(request.query) - {first, second})
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}: there are {first!r} and {second!r}")


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValueError(f"{name!r} must be a whole number from 1, not {text!r}")
    return int(text)


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
