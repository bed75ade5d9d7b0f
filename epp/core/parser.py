"""How a request's body is read, and where its answer tells what it cost."""

from __future__ import annotations

from typing import ClassVar

from epp.core.plugin import Plugin
from epp.core.request import Headers, RequestBody
from epp.core.response import NoUsageReader, UsageReader


class Parser(Plugin):
    """Reads a request body.

    ``paths`` are the ends of the request paths that it is for, without a slash in front; one
    without any is for the rest. The request's path is among the headers.
    """

    paths: ClassVar[tuple[str, ...]] = ()

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        """What the picker has to know of the body.

        Raises:
            BadRequestError: the body is not a request of this kind.
        """
        raise NotImplementedError

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        """``body`` with only the bytes of its model name changed.

        Never asked of a body that takes no model.

        Raises:
            BadRequestError: the name cannot be found in reasonable time.
        """
        raise NotImplementedError

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        """What reads the usage out of an answer; ``is_streaming`` is whether it comes in events."""
        return NoUsageReader()
