"""Requests that want to be served only from a cache.

A client that can have a prompt computed elsewhere sends ``Prefer: if-available``, and is told when
the endpoint that would serve it has seen nothing of it.
"""

from __future__ import annotations

from epp.core.data import PREFIX_MATCH
from epp.core.decision import SchedulingResult
from epp.core.errors import PreconditionFailedError
from epp.core.request import Headers, InferenceRequest, header_text

PREFER_HEADER = "prefer"
IF_AVAILABLE = "if-available"
NOT_CACHED = "no decode worker has the requested KV cache"


def check_cached(request: InferenceRequest, result: SchedulingResult) -> None:
    """Return unless the client prefers a cached prompt and the first endpoint has none of it.

    Where nobody knows what endpoints have seen, every request may go on.

    Differs: any producer of prefix matches counts, and one block that any of them knows of is
    enough; upstream reads the default producer only, and refuses everything beside another one.

    Source: llm-d-router v0.10, pkg/epp/requestcontrol/director.go.

    Raises:
        PreconditionFailedError: the endpoint has seen no block of the prompt.
    """
    if PREFER_HEADER not in request.headers or not _prefers_cached(request.headers):
        return
    matches = request.data.every(PREFIX_MATCH)
    if not matches or not result.picked:
        return
    first = result.picked[0].id
    if not any(match.matched_blocks.get(first, 0) > 0 for match in matches):
        raise PreconditionFailedError(NOT_CACHED)


def _prefers_cached(headers: Headers) -> bool:
    """Whether one of the preferences, whatever its parameters, is the one for cached prompts."""
    preferences = header_text(headers, PREFER_HEADER).split(",")
    return any(p.partition(";")[0].strip().lower() == IF_AVAILABLE for p in preferences)
