"""``mm-embeddings-cache-producer``: which endpoint has encoded the same images before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Annotated

import msgspec
from msgspec import Meta

from epp.core.data import (
    MEDIA_MATCH,
    TOKENIZED_PROMPT,
    DataKey,
    MediaFeature,
    MediaMatch,
    TokenizedPrompt,
)
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.plugin import (
    DataProducer,
    EndpointListener,
    Handle,
    Params,
    PreRequest,
    Stability,
    plugin,
)
from epp.core.request import InferenceRequest

MIB_PER_ITEM = 2
ENCODE_PROFILE = "encode"
MAX_ITEMS = 512
"""Of one request so many are looked at."""

MAX_HASH_CHARACTERS = 128
"""A hash that a client names may not be longer: it is remembered."""

MODALITIES = frozenset({"image", "video", "audio"})
OTHER = "other"


class MMEmbeddingsCacheParams(Params, frozen=True):
    """How much an endpoint remembers; zero and negative numbers mean the default."""

    cache_size_in_mb_per_server: Annotated[
        int, Meta(description="MiB of embeddings per endpoint, 2 for each item.")
    ] = msgspec.field(default=4096, name="cacheSizeInMBPerServer")

    @property
    def capacity(self) -> int:
        """Items per endpoint."""
        size = self.cache_size_in_mb_per_server
        if size <= 0:
            size = MMEmbeddingsCacheParams().cache_size_in_mb_per_server
        return max(1, size // MIB_PER_ITEM)


@plugin("mm-embeddings-cache-producer", params=MMEmbeddingsCacheParams, stability=Stability.BETA)
class MMEmbeddingsCacheProducer(DataProducer, PreRequest, EndpointListener):
    """Remember the images, videos and sounds that each endpoint was sent lately.

    They are told apart by their hashes. An endpoint learns those of a request when it is the first
    of the primary profile, or of one called ``encode``.

    Differs: an item weighs as many tokens as it has, upstream counts each as one. Those without a
    hash, which nobody can tell apart, and all after the first 512 of a request do not count.

    Source: llm-d-router v0.10, requestcontrol/dataproducer/multimodal.
    """

    def __init__(self, params: MMEmbeddingsCacheParams, handle: Handle) -> None:
        self._capacity = params.capacity
        self._probe = handle.probe
        self._seen: dict[str, OrderedDict[str, None]] = {}
        self._tokens = TOKENIZED_PROMPT.of()

    @property
    def consumes(self) -> Sequence[DataKey[TokenizedPrompt]]:
        return [self._tokens]

    @property
    def produces(self) -> Sequence[DataKey[MediaMatch]]:
        return [MEDIA_MATCH.of(self.name)]

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        items = self._items(request)
        if not items:
            return
        seen = {endpoint.id: self._seen.get(endpoint.id, ()) for endpoint in endpoints}
        for item in items:
            holders = [endpoint for endpoint in endpoints if item.hash in seen[endpoint.id]]
            # What a client calls it is a label of a metric.
            modality = item.modality if item.modality in MODALITIES else OTHER
            self._probe.media_sought(self.type, self.name, modality, holders)
        matched: dict[str, int] = {}
        for endpoint_id, hashes in seen.items():
            known = [item for item in items if item.hash in hashes]
            self._probe.media_matched(self.type, self.name, len(known), len(items))
            if known:
                matched[endpoint_id] = sum(item.length for item in known)
        match = MediaMatch(sum(item.length for item in items), matched)
        request.data.set(MEDIA_MATCH.of(self.name), match)

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        items = self._items(request)
        if not items:
            return
        encode = result.profiles.get(ENCODE_PROFILE)
        for endpoint in {*result.picked[:1], *(encode.picked[:1] if encode else ())}:
            seen = self._seen.setdefault(endpoint.id, OrderedDict())
            for item in items:
                seen[item.hash] = None
                seen.move_to_end(item.hash)
            while len(seen) > self._capacity:
                seen.popitem(last=False)

    def endpoint_removed(self, endpoint_id: str) -> None:
        self._seen.pop(endpoint_id, None)

    def describe(self) -> Mapping[str, object]:
        return {"items": {endpoint_id: len(seen) for endpoint_id, seen in self._seen.items()}}

    def _items(self, request: InferenceRequest) -> list[MediaFeature]:
        """What the request has to be encoded, each once."""
        tokenized = request.data.get(self._tokens)
        if tokenized is None:
            return []
        items: dict[str, MediaFeature] = {}
        for feature in chain.from_iterable([prompt.features for prompt in tokenized.prompts]):
            if 0 < len(feature.hash) <= MAX_HASH_CHARACTERS:
                items[feature.hash] = feature
                if len(items) == MAX_ITEMS:
                    break
        return list(items.values())
