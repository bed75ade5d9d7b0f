"""An endpoint and what its model server reports: all that a scorer may look at."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from ipaddress import IPv6Address

import msgspec


class EndpointMetrics(msgspec.Struct, frozen=True):
    """The values of one scrape.

    ``kv_cache_ratio`` is 0..1; ``active_models`` and ``waiting_models`` are names of LoRA adapters;
    ``cache_block_size_tokens`` and ``cache_num_blocks`` are 0 where the server does not tell.
    ``attributes`` are what further extractors made, as ``NAME/EXTRACTOR``; ``served_models`` the
    models with what they are adapters of (empty for none), where somebody reads them.
    """

    waiting_queue_size: int = 0
    running_requests: int = 0
    kv_cache_ratio: float = 0.0
    active_models: frozenset[str] = frozenset()
    waiting_models: frozenset[str] = frozenset()
    max_active_models: int = 0
    cache_block_size_tokens: int = 0
    cache_num_blocks: int = 0
    updated_at: float | None = None
    attributes: Mapping[str, float] = {}
    served_models: Mapping[str, str] = {}


class Endpoint(msgspec.Struct, frozen=True, eq=False):
    """One pod IP and target port that can serve a request.

    Values, replaced at every scrape: state about an endpoint is keyed by ``id``
    (``namespace/name``), never by the object. ``pod`` is the name of the one it is in, empty
    where it comes from a file, and so is ``node_address``; ``metrics_port`` 0 means ``port``.
    """

    id: str
    name: str
    namespace: str
    address: str
    port: int
    labels: Mapping[str, str] = {}
    metrics: EndpointMetrics = EndpointMetrics()
    pod: str = ""
    metrics_port: int = 0
    node_address: str = ""

    @property
    def destination(self) -> str:
        """``ip:port`` as proxies want it, IPv6 in brackets."""
        return join_host_port(self.address, self.port)


def join_host_port(address: str, port: int) -> str:
    """``ip:port``, with brackets round an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_host_port(text: str) -> tuple[str, int | None]:
    """The address of ``ip``, ``ip:port``, ``v6`` or ``[v6]:port``, and the port if one is given.

    A port that is no number is reported as -1, which no endpoint has; IPv6 comes in its shortest
    spelling.
    """
    text = text.strip()
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    if ":" in address:
        with contextlib.suppress(ValueError):
            address = str(IPv6Address(address))
    if not port:
        return address, None
    return address, int(port) if len(port) <= 5 and port.isascii() and port.isdigit() else -1
