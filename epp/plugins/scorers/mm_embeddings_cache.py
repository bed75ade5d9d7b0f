"""``mm-embeddings-cache-scorer``: send the request where its images were encoded before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import MEDIA_MATCH, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


class MmEmbeddingsCacheScorerParams(Params, frozen=True):
    """Whose word counts."""

    producer_name: Annotated[str, Meta(description="Who remembers the media.")] = ""


@plugin(
    "mm-embeddings-cache-scorer", params=MmEmbeddingsCacheScorerParams, stability=Stability.BETA
)
class MmEmbeddingsCacheScorer(Scorer):
    """Prefer endpoints that have seen the images, videos and sounds of the request.

    score = size of those seen / size of all, in tokens; 0.0 for a request without any.

    Source: llm-d-router v0.10, scheduling/scorer/mmcacheaffinity.
    """

    def __init__(self, params: MmEmbeddingsCacheScorerParams, handle: Handle) -> None:
        self._key = MEDIA_MATCH.of(params.producer_name)

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        match = request.data.get(self._key)
        if match is None or match.total_size <= 0:
            return [0.0] * len(endpoints)
        seen, total = match.matched_size, match.total_size
        return [seen.get(e.id, 0) / total for e in endpoints]
