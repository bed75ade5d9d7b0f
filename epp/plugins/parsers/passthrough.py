"""``passthrough-parser``: requests that nobody reads."""

from __future__ import annotations

from epp.core.plugin import NoParams, Parser, Stability, plugin
from epp.core.request import Headers, RequestBody


@plugin("passthrough-parser", params=NoParams, stability=Stability.BETA)
class PassthroughParser(Parser):
    """For every path that no other parser is for; the body goes on as it came.

    Plugins that look at prompts have nothing to look at; objective, fairness and subset hold.

    Source: llm-d-router v0.10, requesthandling/parsers/passthrough.
    """

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        return RequestBody(model=None, takes_model=False)

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        return body
