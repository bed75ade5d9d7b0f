"""A file that lists the endpoints: how it is read, and followed while it changes.

Source: llm-d-router v0.10, docs/discovery.md (file-discovery).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from epp.config.document import Document, read_document
from epp.config.findings import ConfigError, Severity
from epp.core.endpoint import Endpoint
from epp.datastore.store import Datastore
from epp.filewatch import POLL_SECONDS, changes

MAX_FILE_BYTES = 1024 * 1024
MAX_PORT = 65535
DEFAULT_NAMESPACE = "default"


class _Failure(NamedTuple):
    """What is wrong with a file of this content."""

    problem: str
    content: bytes


_Reading: TypeAlias = list[Endpoint] | _Failure


class EndpointsFileError(ValueError):
    """The file cannot be used; one line with the place and the rule of every problem."""


def read_endpoints(path: Path, metrics_port: int = 0) -> list[Endpoint]:
    """The endpoints that the file lists, in its order; ``metrics_port`` 0 is each one's own.

    Raises:
        EndpointsFileError: the file cannot be read, or something in it is wrong.
    """
    return parse_endpoints(_read(path), str(path), metrics_port)


def parse_endpoints(content: bytes, name: str, metrics_port: int = 0) -> list[Endpoint]:
    """The endpoints listed in ``content``, YAML or JSON; ``name`` is the file's in errors.

    Raises:
        EndpointsFileError: something in it is wrong.
    """
    if len(content) > MAX_FILE_BYTES:
        raise EndpointsFileError(f"{name}: larger than {MAX_FILE_BYTES} bytes")
    try:
        document = read_document(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError:
        raise EndpointsFileError(f"{name}: is not UTF-8") from None
    except ConfigError as error:
        raise EndpointsFileError(_one_line(str(error))) from None
    return _EndpointList(document, metrics_port).read()


async def follow(
    path: Path,
    datastore: Datastore,
    on_error: Callable[[str], None],
    *,
    metrics_port: int = 0,
    poll_seconds: float = POLL_SECONDS,
    aside: Callable[[Callable[[], _Reading]], Awaitable[_Reading]] = asyncio.to_thread,
) -> None:
    """Keep the datastore's endpoints those of the file, until cancelled.

    A file that is broken or gone changes nothing and is reported once for each content. It is read
    ``aside``, in another thread: 1,000 endpoints take 25 ms.

    Differs: the Go router applies the good part of a broken file, and forgets the rest.
    """
    reported: _Failure | None = None
    async for _ in changes([path], poll_seconds=poll_seconds):
        reading = await aside(partial(_try_to_read, path, metrics_port))
        if isinstance(reading, _Failure):
            if reported != reading:
                reported = reading
                on_error(reading.problem)
        else:
            reported = None
            datastore.set_endpoints(reading)


def _try_to_read(path: Path, metrics_port: int) -> _Reading:
    content = b""
    try:
        content = _read(path)
        return parse_endpoints(content, str(path), metrics_port)
    except EndpointsFileError as error:
        return _Failure(str(error), content)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise EndpointsFileError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # a NUL byte, or characters that are none
        raise EndpointsFileError(f"{str(path)!r}: cannot be a path: {error}") from None


class _EndpointList:
    """One reading of a document; collects what is wrong with it."""

    def __init__(self, document: Document, metrics_port: int) -> None:
        self._document = document
        self._metrics_port = metrics_port
        self._problems: list[str] = []

    def read(self) -> list[Endpoint]:
        value = self._document.value
        entries = value.get("endpoints") if isinstance(value, dict) else None
        if not isinstance(entries, list):
            self._wrong("$", "expected a mapping with the list `endpoints`")
            entries = []
        endpoints = [self._endpoint(entry, f"$.endpoints[{i}]") for i, entry in enumerate(entries)]
        self._check_unique(endpoints)
        if self._problems:
            raise EndpointsFileError(_one_line("; ".join(self._problems)))
        return [endpoint for endpoint in endpoints if endpoint is not None]

    def _endpoint(self, entry: Any, place: str) -> Endpoint | None:
        if not isinstance(entry, dict):
            self._wrong(place, "expected a mapping")
            return None
        name = self._part_of_id(entry, "name", place)
        namespace = self._part_of_id({"namespace": DEFAULT_NAMESPACE} | entry, "namespace", place)
        address = self._address(entry, place)
        port = self._port(entry, place)
        labels = self._labels(entry, place)
        return Endpoint(
            id=f"{namespace}/{name}",
            name=name,
            namespace=namespace,
            address=address,
            port=port,
            labels=labels,
            metrics_port=self._metrics_port,
        )

    def _part_of_id(self, entry: dict[str, Any], key: str, place: str) -> str:
        value = entry.get(key)
        if isinstance(value, str) and value and "/" not in value:
            return value
        self._wrong_value(entry, key, place, "a string, not empty, without /")
        return ""

    def _address(self, entry: dict[str, Any], place: str) -> str:
        """Differs: the Go router takes IPv4 only."""
        value = entry.get("address")
        try:
            if isinstance(value, str) and "%" not in value:
                return str(ip_address(value))
        except ValueError:
            pass
        self._wrong_value(entry, "address", place, "a literal IP address")
        return ""

    def _port(self, entry: dict[str, Any], place: str) -> int:
        """Differs: the Go router takes a string only."""
        value = entry.get("port")
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_PORT:
            return value
        self._wrong_value(entry, "port", place, f"a number from 1 to {MAX_PORT}")
        return 0

    def _labels(self, entry: dict[str, Any], place: str) -> dict[str, str]:
        labels = entry.get("labels")
        if labels is None:
            return {}
        if not isinstance(labels, dict):
            self._wrong(f"{place}.labels", "expected a mapping")
            return {}
        for label, value in labels.items():
            if not isinstance(value, str):
                self._wrong(f"{place}.labels.{label}", "expected a string (in quotes)")
        return labels

    def _check_unique(self, endpoints: list[Endpoint | None]) -> None:
        first: dict[str, int] = {}
        for i, endpoint in enumerate(endpoints):
            if endpoint is None or not (endpoint.name and endpoint.namespace):
                continue
            before = first.setdefault(endpoint.id, i)
            if before != i:
                self._wrong(
                    f"$.endpoints[{i}].name", f"{endpoint.id} is already endpoints[{before}]"
                )

    def _wrong_value(self, entry: dict[str, Any], key: str, place: str, wanted: str) -> None:
        if key in entry:
            self._wrong(f"{place}.{key}", f"expected {wanted}")
        else:
            self._wrong(place, f"`{key}` is missing: {wanted}")

    def _wrong(self, place: str, rule: str) -> None:
        finding = self._document.places.finding(Severity.ERROR, place, "endpoints-file", rule)
        self._problems.append(str(finding))


def _one_line(text: str) -> str:
    return " ".join(text.split())
