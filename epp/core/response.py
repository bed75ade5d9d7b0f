"""An answer as plugins see it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from epp.core.request import Headers, Usage


class Termination(StrEnum):
    """Why an answer ended."""

    NATURAL = "natural"
    CLIENT_DISCONNECT = "client-disconnect"
    EVICTED = "evicted"
    ERROR = "error"


class ResponseStart(msgspec.Struct, frozen=True):
    """The model server's headers: its status and its content type, for nobody needs others.

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


class UsageReader(Protocol):
    """Reads the usage out of one answer while it passes by; whatever the bytes are, it reads on."""

    def feed(self, chunk: bytes | bytearray) -> None:
        """Take the next piece of the answer's body."""

    def result(self) -> Usage | None:
        """The usage, None where the answer told none; asked once, at the end."""


class NoUsageReader:
    """For answers of which nobody knows where they tell their usage."""

    __slots__ = ()

    def feed(self, chunk: bytes | bytearray) -> None:
        """Let it pass."""

    def result(self) -> Usage | None:
        """Nothing was read."""
        return None


class Metadata(NamedTuple):
    """One number for the proxy: its namespace and its key."""

    namespace: str
    name: str
    value: float
