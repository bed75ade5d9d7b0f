"""Requests to the API server, over the HTTP and TLS of the ``kubernetes`` package's client.

Answers are bytes: what is needed of them is decoded by those who asked (see ``objects.py``), for
which the package's own model classes take a hundred times as long.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException

from epp.kube.credentials import CredentialsError, Loader
from epp.kube.objects import UNREADABLE
from epp.telemetry import logs

REQUEST_SECONDS = 30.0
"""For an answer to begin; that of a watch may then go on for longer."""

MAX_EVENT_BYTES = 64 * 1024 * 1024
_CONNECT_SECONDS = 10.0
_UNAUTHORIZED, _TOO_LARGE = 401, 413

# The last one is for a request that nobody confirms, in milliseconds.
_WATCHED = {
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}

logger = logging.getLogger("kubernetes")


class ApiError(Exception):
    """The API server refused; ``status`` is the HTTP status, the text is what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(Exception):
    """The API server did not answer."""


class _Status(msgspec.Struct):
    message: str = ""


class KubeClient:
    """The API server, as the one that the loader says we are.

    That it cannot be reached is logged once, and once that it can be again. A request that is
    refused for its credentials is tried once more with credentials loaded anew. The first request
    opens the client if nobody did.
    """

    def __init__(self, load: Loader) -> None:
        self._load = load
        self._configuration: Configuration | None = None
        self._rest: _Rest | None = None
        self._reloading = asyncio.Lock()
        self._problem = ""

    async def open(self) -> None:
        """Load the credentials, and make the connections' settings anew where they differ.

        Raises:
            CredentialsError: they cannot be used.
        """
        configuration = await self._load()
        old = self._rest
        try:
            settings = _tls_settings(configuration)
            if old is None or old.settings != settings:
                self._rest = _Rest(configuration, settings)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise CredentialsError(f"the certificates cannot be used: {error}") from None
        self._configuration = configuration
        if old is not None and old is not self._rest:
            await old.close()

    async def close(self) -> None:
        """Close every connection; there will be no others."""
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.close()

    async def get(self, path: str, query: Mapping[str, str] = {}) -> bytes:
        """The answer to a GET.

        Raises:
            ApiError, UnreachableError: there is none.
        """
        return await self.send("GET", path, query=query)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] = {},
        seconds: float = REQUEST_SECONDS,
    ) -> bytes:
        """The answer to a request with a JSON body.

        Raises:
            ApiError, UnreachableError: there is none.
        """
        response = await self._request(method, path, query, body, seconds)
        try:
            return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._lost(error) from None

    @asynccontextmanager
    async def watch(
        self, path: str, query: Mapping[str, str], *, seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a watch until the server ends it, or ``seconds`` have passed.

        Raises:
            ApiError, UnreachableError: it was refused; while lines are read, it was cut.
        """
        response = await self._request("GET", path, {**query, "watch": "true"}, None, seconds)
        try:
            async with aclosing(_lines(response)) as lines:
                yield lines
        finally:
            response.close()

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        seconds: float,
    ) -> aiohttp.ClientResponse:
        if self._configuration is None:
            try:
                await self._reload(None)
            except CredentialsError as error:
                raise self._lost(error) from None
        used = self._configuration
        response = await self._once(method, path, query, body, seconds)
        if response.status == _UNAUTHORIZED:
            response.release()
            try:
                await self._reload(used)
            except CredentialsError as error:
                raise ApiError(_UNAUTHORIZED, str(error)) from None
            response = await self._once(method, path, query, body, seconds)
        if response.status < 300:
            return response
        try:
            text = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._lost(error) from None
        raise ApiError(response.status, _message(response, text))

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        seconds: float,
    ) -> aiohttp.ClientResponse:
        configuration = self._configuration
        rest: Any = self._rest  # the package's request() has no types
        if rest is None or configuration is None:
            raise UnreachableError("the client is closed")
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                headers = await _headers(configuration)
                url = f"{configuration.host}{path}"
                if query:
                    url = f"{url}?{urlencode(query)}"
                answer = await rest.request(method, url, headers, body, _request_timeout=limits)
        except ssl.SSLError as error:
            lost = self._lost(error)
            with suppress(CredentialsError):  # perhaps there are new certificates, for the next try
                await self._reload(configuration)
            raise lost from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, ConfigException) as error:
            raise self._lost(error) from None
        self._found()
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _reload(self, used: Configuration | None) -> None:
        """Load the credentials anew, unless another request did so since these were used.

        Raises:
            CredentialsError: they cannot be used.
        """
        async with self._reloading:
            if self._configuration is used:
                await self.open()

    def _lost(self, error: BaseException) -> UnreachableError:
        text = " ".join(str(error).split()) or type(error).__name__
        if not self._problem:
            logs.error(
                logger,
                "Kubernetes API server is unreachable; going on with what is known",
                error=text,
            )
        self._problem = text
        return UnreachableError(text)

    def _found(self) -> None:
        if self._problem:
            self._problem = ""
            logs.log(logger, 0, "Kubernetes API server is reachable again")


class _Rest(RESTClientObject):
    """The package's client, with connections that notice within 30 s that the server is gone.

    ``settings`` are what its connections are made with.
    """

    def __init__(self, configuration: Configuration, settings: tuple[object, ...]) -> None:
        # Clusters whose authority lacks an extension that Go does not ask for are usual.
        configuration.disable_strict_ssl_verification = True
        super().__init__(configuration)
        self.settings = settings

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize, ssl=self.ssl_context, socket_factory=_watched_socket
        )


def _tls_settings(configuration: Configuration) -> tuple[object, ...]:
    """What connections are made with, the content of files included."""
    files = [configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file]
    return (
        *(Path(file).read_bytes() if file else b"" for file in files),
        configuration.ca_cert_data,
        configuration.verify_ssl,
        configuration.tls_server_name,
        configuration.proxy,
    )


def _watched_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _WATCHED.items():
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """The lines of an answer that may go on for long; one that is cut off is none."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for data in response.content.iter_any():
            *lines, rest = data.split(b"\n")
            for line in lines:
                yield b"".join([*pieces, line])
                pieces.clear()
                size = 0
            if rest:
                pieces.append(rest)
                size += len(rest)
            if size > MAX_EVENT_BYTES:
                raise ApiError(_TOO_LARGE, f"an event of more than {MAX_EVENT_BYTES} bytes")
    except TimeoutError:
        return
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(str(error)) from None


async def _headers(configuration: Configuration) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "epp"}
    token = await configuration.get_api_key_with_prefix("BearerToken")
    if token:
        headers["Authorization"] = token.strip()
    return headers


def _message(response: aiohttp.ClientResponse, text: bytes) -> str:
    """What went wrong, as the API server says it."""
    try:
        message = msgspec.json.decode(text, type=_Status).message
    except UNREADABLE:
        message = ""
    return message or f"HTTP {response.status} {response.reason}"
