"""``prefix-based-pd-decider``: prefill elsewhere what the decoding endpoint has not cached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import PREFIX_MATCH, TOKENIZED_PROMPT, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import DisaggregationDecider, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest


class PrefixBasedPdDeciderParams(Params, frozen=True):
    """How much new prompt is worth a transfer."""

    non_cached_tokens: Annotated[
        int, Meta(ge=0, description="Uncached tokens from which on it is; 0: it never is.")
    ] = 0
    prompt_tokens: Annotated[int, Meta(ge=0, description="Shorter prompts never are.")] = 0
    prefix_match_info_producer_name: Annotated[
        str, Meta(description="Whose prefix matches count; empty: the default producer's.")
    ] = ""

    def hints(self) -> Iterable[tuple[str, str]]:
        if not self.non_cached_tokens:
            yield "nonCachedTokens", "with 0 no prompt is ever prefilled elsewhere"


@plugin("prefix-based-pd-decider", params=PrefixBasedPdDeciderParams, stability=Stability.BETA)
class PrefixBasedPdDecider(DisaggregationDecider):
    """Say yes where at least ``nonCachedTokens`` of the prompt are new to the decoding endpoint.

    new = tokens - blocks cached there x tokens per block. Without a decoding endpoint, a prompt in
    tokens, or a prefix match, the answer is no.

    Differs: it reads the producer that is configured; upstream reads the default one only, and so
    never sees what a precise producer knows.

    Source: llm-d-router v0.10, profilehandler/disagg.
    """

    def __init__(self, params: PrefixBasedPdDeciderParams, handle: Handle) -> None:
        self._new_tokens = params.non_cached_tokens
        self._tokens = max(params.prompt_tokens, params.non_cached_tokens)
        self._match = PREFIX_MATCH.of(params.prefix_match_info_producer_name)
        self._prompt = TOKENIZED_PROMPT.of()

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._match, self._prompt)

    def decide(self, request: InferenceRequest, endpoint: Endpoint | None) -> bool:
        if not self._new_tokens or endpoint is None:
            return False
        match, prompt = request.data.get(self._match), request.data.get(self._prompt)
        if match is None or prompt is None:
            return False
        tokens = prompt.token_count
        if tokens < self._tokens:
            return False
        cached = match.matched_blocks.get(endpoint.id, 0) * match.block_tokens
        return tokens - cached >= self._new_tokens
