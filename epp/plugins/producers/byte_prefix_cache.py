"""``byte-prefix-cache-producer``: which endpoint was sent the same bytes before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.data import PREFIX_MATCH, DataKey, PrefixMatch
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
from epp.prefixcache.hashing import BlockHasher
from epp.prefixcache.memory import PrefixMemory, SeenPrompt
from epp.prefixcache.text import prefix_bytes

BYTES_PER_TOKEN = 4


class BytePrefixCacheParams(Params, frozen=True):
    """Zero and negative numbers mean the default, as in the 2025 release."""

    block_size: Annotated[int, Meta(description="Bytes per block, unless the server tells.")] = 64
    max_prefix_blocks_to_match: Annotated[int, Meta(description="Blocks to look at.")] = 256
    lru_capacity_per_server: Annotated[
        int, Meta(description="Blocks to remember per endpoint, unless the server tells.")
    ] = 31250
    report_as: Annotated[
        str, Meta(description="The prefix-cache-scorer under whose name metrics are.")
    ] = ""


@plugin("byte-prefix-cache-producer", params=BytePrefixCacheParams, stability=Stability.BETA)
class BytePrefixCacheProducer(DataProducer, PreRequest, EndpointListener):
    """Remember the blocks of bytes that each endpoint was sent, as the 2025 release does.

    The index learns where each request was sent, so it guesses what the model server's own cache
    holds. Where the first candidate reports its cache's block size (tokens), blocks are 4 bytes per
    token; where an endpoint reports its number of blocks, that is how many are remembered for it. A
    partial last block does not count.

    Differs: it was a part of ``prefix-cache-scorer``, and the candidates were those that a
    profile's filters had left.

    Source: gateway-api-inference-extension 2aaf2a6, multi/prefix/plugin.go.
    """

    def __init__(self, params: BytePrefixCacheParams, handle: Handle) -> None:
        defaults = BytePrefixCacheParams()
        self._block_bytes = _positive(params.block_size, defaults.block_size)
        self._max_blocks = _positive(
            params.max_prefix_blocks_to_match, defaults.max_prefix_blocks_to_match
        )
        self._hasher = BlockHasher()
        self._memory = PrefixMemory(
            self,
            handle.probe,
            capacity=_positive(params.lru_capacity_per_server, defaults.lru_capacity_per_server),
            report_as=params.report_as,
        )
        self._key: DataKey[SeenPrompt] = DataKey("byte-prefix-cache-producer")

    @property
    def produces(self) -> Sequence[DataKey[PrefixMatch]]:
        return [PREFIX_MATCH.of(self.name)]

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        body = request.body
        if body is None or not endpoints:
            return
        reported = endpoints[0].metrics.cache_block_size_tokens * BYTES_PER_TOKEN
        block_bytes = _positive(reported, self._block_bytes)
        hashes = self._hasher.hashes(
            prefix_bytes(body, block_bytes * self._max_blocks),
            model=request.target_model,
            cache_salt=body.cache_salt,
            block_bytes=block_bytes,
            max_blocks=self._max_blocks,
        )
        prompt = self._memory.look_up((hashes,), block_bytes)
        request.data.set(PREFIX_MATCH.of(self.name), prompt.match)
        request.data.set(self._key, prompt)

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        prompt = request.data.get(self._key)
        if prompt is not None and prompt.match.total_blocks and result.picked:
            self._memory.learn(prompt, result.picked[0])

    def endpoint_removed(self, endpoint_id: str) -> None:
        self._memory.forget(endpoint_id)

    def describe(self) -> Mapping[str, object]:
        return {"entries": len(self._memory)}


def _positive(value: int, otherwise: int) -> int:
    return value if value > 0 else otherwise
