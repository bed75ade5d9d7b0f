"""The fields of a proxy's message: headers, metadata, the mode of the body.

A proxy sends metadata with every message, and it is the same from message to message, so what
follows a message's first field is read once and then known by its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from epp.core.request import Headers
from epp.extproc.events import UNTOLD, Modes
from epp.extproc.pb.ext_proc_pb2 import HeaderMap, ProcessingRequest

LB_NAMESPACE = "envoy.lb"
SUBSET_NAMESPACE = "envoy.lb.subset_hint"
SERVED_KEY = "x-gateway-destination-endpoint-served"
SUBSET_KEY = "x-gateway-destination-endpoint-subset"

RESPONSE_HEADERS = frozenset({":status", "status", "content-type"})
"""The headers of an answer that anybody looks at, plugins included."""

MAX_REMEMBERED_BYTES = 1024


def request_headers(headers: HeaderMap) -> Headers:
    """Lower-case names to bytes: proxies differ in which of the two value fields they fill."""
    return {h.key.lower(): h.raw_value or h.value.encode() for h in headers.headers}


def response_headers(headers: HeaderMap) -> Headers:
    """As ``request_headers``, and only those that somebody looks at: 4.3 us instead of 5.2 us."""
    return {
        name: h.raw_value or h.value.encode()
        for h in headers.headers
        if (name := h.key.lower()) in RESPONSE_HEADERS
    }


class Surroundings(msgspec.Struct, frozen=True):
    """``subset`` is None where the proxy does not tell, ``served`` is empty.

    ``has_lb_metadata`` is whether it says anything about load balancing.
    """

    subset: tuple[str, ...] | None = None
    served: str = ""
    has_lb_metadata: bool = False
    modes: Modes = UNTOLD


NO_SURROUNDINGS = Surroundings()


def surroundings(message: ProcessingRequest) -> Surroundings:
    """What a message says besides its body or headers."""
    return Surroundings(
        subset=_subset(message),
        served=_served(message),
        has_lb_metadata=LB_NAMESPACE in message.metadata_context.filter_metadata,
        modes=_modes(message),
    )


def read_rest(rest: bytes | bytearray) -> Surroundings | None:
    """What follows the first field of a message; None when that may change the first field.

    Raises:
        DecodeError: these bytes are no fields.
    """
    return _remembered(bytes(rest)) if len(rest) <= MAX_REMEMBERED_BYTES else None


# Envoy's tells the served endpoint, and the order of its parts differs from message to message.
@lru_cache(maxsize=4096)
def _remembered(rest: bytes) -> Surroundings | None:
    message = ProcessingRequest.FromString(rest)
    return surroundings(message) if message.WhichOneof("request") is None else None


def _modes(message: ProcessingRequest) -> Modes:
    if message.observability_mode:
        return Modes(is_observing=True)
    if not message.HasField("protocol_config"):
        return UNTOLD
    config = message.protocol_config
    return Modes(config.request_body_mode, config.response_body_mode)


def _subset(message: ProcessingRequest) -> tuple[str, ...] | None:
    """The endpoints that the proxy allows, as a list or as text with commas; None means all.

    Differs: the Go pickers ignore the textual form, and one of them ends on an entry that is no
    text; such entries are skipped here.
    """
    spaces = message.metadata_context.filter_metadata
    if SUBSET_NAMESPACE not in spaces or SUBSET_KEY not in spaces[SUBSET_NAMESPACE].fields:
        return None
    value = spaces[SUBSET_NAMESPACE].fields[SUBSET_KEY]
    match value.WhichOneof("kind"):
        case "list_value":
            entries: Iterable[str] = [
                entry.string_value
                for entry in value.list_value.values
                if entry.WhichOneof("kind") == "string_value"
            ]
        case "string_value":
            entries = value.string_value.split(",")
        case _:
            return None
    return tuple([entry.strip() for entry in entries if entry.strip()])


def _served(message: ProcessingRequest) -> str:
    spaces = message.metadata_context.filter_metadata
    if LB_NAMESPACE not in spaces or SERVED_KEY not in spaces[LB_NAMESPACE].fields:
        return ""
    return spaces[LB_NAMESPACE].fields[SERVED_KEY].string_value
