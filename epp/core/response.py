"""An answer as plugins see it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from epp.core.request import Headers, Usage


class Termination(StrEnum):
    """Why an answer ended."""

    NATURAL = "natural"
    CLIENT_DISCONNECT = "client-disconnect"
    EVICTED = "evicted"
    ERROR = "error"


class ResponseStart(msgspec.Struct, frozen=True):
    """The model server's headers.

    ``served`` is the endpoint that the proxy says it used, empty where it does not say;
    ``has_lb_metadata`` is whether it sent metadata about load balancing at all.
    """

    headers: Headers
    served: str = ""
    has_lb_metadata: bool = False


class ResponseEnd(msgspec.Struct, frozen=True):
    """How an answer ended; ``usage`` is None where the model server told nothing."""

    cause: Termination = Termination.NATURAL
    usage: Usage | None = None
    chunks: int = 0


class Metadata(NamedTuple):
    """One number for the proxy: its namespace and its key."""

    namespace: str
    name: str
    value: float
