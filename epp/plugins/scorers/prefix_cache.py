"""``prefix-cache-scorer``: send the request where the start of its prompt was seen before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.data import PREFIX_MATCH, DataKey, PrefixMatch
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


class PrefixCacheParams(Params, frozen=True):
    """Who knows what endpoints have seen, and whether a long match is worth more than its share."""

    prefix_match_info_producer_name: Annotated[
        str, Meta(description="Producer of the matches; empty is the approximate one.")
    ] = ""
    match_length_weight: Annotated[
        float, Meta(ge=0, le=1, description="How much the length of the match counts.")
    ] = 0.0
    match_length_scale_tokens: Annotated[
        int, Meta(description="Tokens from which on a match could not be longer.")
    ] = 8192

    def problems(self) -> Iterable[tuple[str, str]]:
        if self.match_length_weight > 0 and self.match_length_scale_tokens <= 0:
            yield "matchLengthScaleTokens", "must be above 0 where matchLengthWeight is"


@plugin("prefix-cache-scorer", params=PrefixCacheParams, stability=Stability.BETA)
class PrefixCacheScorer(Scorer):
    """Prefer endpoints that have seen the longest prefix of the prompt.

    score = (1 - w) * r + w * min(1, matched tokens / scale)**2, where r is blocks seen / blocks of
    the prompt and w the weight of the length, which is 0 by default: two prompts that were seen
    whole are then worth the same, however much work the longer one saves.

    Source: llm-d-router v0.10, scheduling/scorer/prefix.
    """

    def __init__(self, params: PrefixCacheParams, handle: Handle) -> None:
        self._key = PREFIX_MATCH.of(params.prefix_match_info_producer_name)
        self._weight = params.match_length_weight
        self._scale = params.match_length_scale_tokens

    @property
    def consumes(self) -> Sequence[DataKey[PrefixMatch]]:
        return [self._key]

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        match = request.data.get(self._key)
        if match is None or match.total_blocks <= 0:
            return [0.0] * len(endpoints)
        total, seen = match.total_blocks, match.matched_blocks
        if not self._weight:
            return [seen.get(endpoint.id, 0) / total for endpoint in endpoints]
        tokens, weight, scale = match.block_tokens, self._weight, self._scale
        matched = [seen.get(endpoint.id, 0) for endpoint in endpoints]
        return [
            (1 - weight) * blocks / total + weight * min(1.0, blocks * tokens / scale) ** 2
            for blocks in matched
        ]
