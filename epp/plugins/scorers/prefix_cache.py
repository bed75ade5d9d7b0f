"""``prefix-cache-scorer``: send the request where the start of its prompt was seen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from msgspec import Meta

from epp.core.data import PREFIX_MATCH, DataKey, PrefixMatch
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.plugin import (
    EndpointListener,
    Handle,
    Params,
    PreRequest,
    Scorer,
    Stability,
    plugin,
)
from epp.core.request import InferenceRequest
from epp.prefixcache.hashing import BlockHasher, Hashes
from epp.prefixcache.index import PrefixIndex
from epp.prefixcache.text import prefix_bytes

BYTES_PER_TOKEN = 4
NO_MATCH = PrefixMatch(total_blocks=0, block_bytes=0, matched_blocks={})


class PrefixCacheParams(Params, frozen=True):
    """Zero and negative numbers mean the default, as in the 2025 release."""

    block_size: Annotated[int, Meta(description="Bytes per block, unless the server tells.")] = 64
    max_prefix_blocks_to_match: Annotated[int, Meta(description="Blocks to look at.")] = 256
    lru_capacity_per_server: Annotated[
        int, Meta(description="Blocks to remember per endpoint, unless the server tells.")
    ] = 31250


@plugin("prefix-cache-scorer", params=PrefixCacheParams, stability=Stability.BETA)
class PrefixCacheScorer(Scorer, PreRequest, EndpointListener):
    """Prefer endpoints that have seen the longest prefix of the prompt.

    score = blocks seen / blocks of the prompt. The index learns where each request was sent, so it
    guesses what the model server's own cache holds. Where the first candidate reports its cache's
    block size (tokens), blocks are 4 bytes per token; where an endpoint reports its number of
    blocks, that is how many are remembered for it.

    Source: gateway-api-inference-extension 2aaf2a6, multi/prefix/plugin.go.
    """

    def __init__(self, params: PrefixCacheParams, handle: Handle) -> None:
        defaults = PrefixCacheParams()
        self._block_bytes = _positive(params.block_size, defaults.block_size)
        self._max_blocks = _positive(
            params.max_prefix_blocks_to_match, defaults.max_prefix_blocks_to_match
        )
        self._capacity = _positive(params.lru_capacity_per_server, defaults.lru_capacity_per_server)
        self._probe = handle.probe
        self._hasher = BlockHasher()
        self._index = PrefixIndex()
        self._key: DataKey[_Prompt] = DataKey("prefix-cache-scorer")

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        match = self._match(request, endpoints[0])
        request.data.set(PREFIX_MATCH, match)
        total = match.total_blocks
        if not total:
            return [0.0] * len(endpoints)
        seen = match.matched_blocks
        return [seen.get(endpoint.id, 0) / total for endpoint in endpoints]

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        prompt = request.data.get(self._key)
        if prompt is None or not prompt.match.total_blocks:
            return
        endpoint = result.picked[0]
        match = prompt.match
        self._probe.prefix_matched(
            self.type,
            self.name,
            match.matched_blocks.get(endpoint.id, 0),
            match.total_blocks,
            match.block_bytes,
        )
        capacity = _positive(endpoint.metrics.cache_num_blocks, self._capacity)
        self._index.add(endpoint.id, prompt.hashes, capacity=capacity)
        self._probe.prefix_index_sized(self.type, self.name, len(self._index))

    def endpoint_removed(self, endpoint_id: str) -> None:
        self._index.remove(endpoint_id)
        self._probe.prefix_index_sized(self.type, self.name, len(self._index))

    def _match(self, request: InferenceRequest, first: Endpoint) -> PrefixMatch:
        if request.body is None:
            return NO_MATCH
        reported = first.metrics.cache_block_size_tokens * BYTES_PER_TOKEN
        block_bytes = _positive(reported, self._block_bytes)
        known = request.data.get(self._key)
        if known is not None and known.match.block_bytes == block_bytes:
            # Another profile has asked before.
            return known.match
        hashes = self._hasher.hashes(
            prefix_bytes(request.body, block_bytes * self._max_blocks),
            model=request.target_model,
            cache_salt=request.body.cache_salt,
            block_bytes=block_bytes,
            max_blocks=self._max_blocks,
        )
        match = PrefixMatch(
            total_blocks=len(hashes),
            block_bytes=block_bytes,
            matched_blocks=self._index.match(hashes),
        )
        request.data.set(self._key, _Prompt(hashes, match))
        return match


class _Prompt(NamedTuple):
    """What the scorer keeps with a request."""

    hashes: Hashes
    match: PrefixMatch


def _positive(value: int, otherwise: int) -> int:
    return value if value > 0 else otherwise
