"""Which parser reads a request: the one whose path fits best."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from epp.core.errors import BadRequestError
from epp.core.plugin import Parser
from epp.core.request import Headers, request_path


class ParserChoice:
    """An ordered list of parsers, of which each request gets one.

    Of several parsers of one type only the first counts. One without paths is for the rest, and
    ends the list.

    Source: llm-d-router v0.10, requesthandling/parsers.
    """

    def __init__(self, parsers: Iterable[Parser]) -> None:
        by_type: dict[str, Parser] = {}
        self._fallback: Parser | None = None
        for parser in parsers:
            if by_type.setdefault(parser.type, parser) is parser and not parser.paths:
                self._fallback = parser
                break
        self._parsers = tuple(by_type.values())
        ends = [(path.strip("/").encode(), p) for p in self._parsers for path in p.paths]
        self._by_end = sorted(ends, key=lambda end: -len(end[0]))
        # Nearly all requests come with one of a few paths.
        self._find = lru_cache(maxsize=256)(self._longest_end)

    @property
    def parsers(self) -> tuple[Parser, ...]:
        """Those that may get a request."""
        return self._parsers

    def choose(self, headers: Headers) -> Parser:
        """The parser for a request with these headers.

        Raises:
            BadRequestError: none is for its path.
        """
        return self._find(request_path(headers))

    def _longest_end(self, path: bytes) -> Parser:
        end = path.removesuffix(b"/")
        for suffix, parser in self._by_end:
            if end.endswith(suffix):
                return parser
        if self._fallback is None:
            shown = path.decode("utf-8", "replace")
            raise BadRequestError(f"no parser registered matching path suffix for: {shown}")
        return self._fallback
