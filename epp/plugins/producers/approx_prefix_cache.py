"""``approx-prefix-cache-producer``: which endpoint was sent the same tokens before."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.data import PREFIX_MATCH, TOKENIZED_PROMPT, DataKey, PrefixMatch, TokenizedPrompt
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
from epp.prefixcache.hashing import MAX_PROMPTS, BlockHasher
from epp.prefixcache.memory import PrefixMemory, SeenPrompt

BYTES_PER_TOKEN = 4
MIN_BLOCK_TOKENS = 64
DEFAULT_BLOCK_TOKENS = 16
PREFILL_PROFILE = "prefill"


class ApproxPrefixCacheParams(Params, frozen=True):
    """What is cut into blocks, and how many of them are looked at and remembered."""

    auto_tune: Annotated[
        bool, Meta(description="Take block size and capacity from the model server's metrics.")
    ] = True
    block_size_tokens: Annotated[int, Meta(description="Tokens per block, never below 64.")] = (
        DEFAULT_BLOCK_TOKENS
    )
    block_size: Annotated[int, Meta(description="The older name of blockSizeTokens.")] = 0
    max_prefix_tokens_to_match: Annotated[int, Meta(description="Tokens to look at.")] = 131072
    max_prefix_blocks_to_match: Annotated[
        int, Meta(description="Blocks to look at where maxPrefixTokensToMatch is 0.")
    ] = 2048
    lru_capacity_per_server: Annotated[
        int, Meta(gt=0, description="Blocks to remember per endpoint, unless the server tells.")
    ] = 31250

    @property
    def block_tokens(self) -> int:
        """The block size that was asked for, under either name."""
        if self.block_size > 0 and self.block_size_tokens == DEFAULT_BLOCK_TOKENS:
            return self.block_size
        return self.block_size_tokens

    def hints(self) -> Iterable[tuple[str, str]]:
        for name, size in (
            ("blockSizeTokens", self.block_size_tokens),
            ("blockSize", self.block_size),
        ):
            # The default is small too, and means the floor.
            if size < MIN_BLOCK_TOKENS and size not in (0, DEFAULT_BLOCK_TOKENS):
                yield name, f"blocks are never smaller than {MIN_BLOCK_TOKENS} tokens"


@plugin("approx-prefix-cache-producer", params=ApproxPrefixCacheParams, stability=Stability.BETA)
class ApproxPrefixCacheProducer(DataProducer, PreRequest, EndpointListener):
    """Remember the blocks of tokens that each endpoint was sent.

    The index learns where each request was sent: to the first endpoint of the primary profile, and
    of one called ``prefill``. A partial last block counts; several prompts are matched each for
    itself and added up.

    Differs: not chained XXH64, since hashes never leave the process (``prefixcache/hashing.py``);
    the matches are the same. Of several prompts the first 1,000 count.

    Source: llm-d-router v0.10, requestcontrol/dataproducer/approximateprefix.
    """

    def __init__(self, params: ApproxPrefixCacheParams, handle: Handle) -> None:
        self._auto_tune = params.auto_tune
        self._block_tokens = params.block_tokens
        self._max_tokens = params.max_prefix_tokens_to_match
        self._max_blocks = params.max_prefix_blocks_to_match
        self._hasher = BlockHasher()
        self._memory = PrefixMemory(
            self,
            handle.probe,
            capacity=params.lru_capacity_per_server,
            trusts_reports=params.auto_tune,
        )
        self._tokens = TOKENIZED_PROMPT.of()
        self._key: DataKey[SeenPrompt] = DataKey("approx-prefix-cache-producer")

    @property
    def consumes(self) -> Sequence[DataKey[TokenizedPrompt]]:
        return [self._tokens]

    @property
    def produces(self) -> Sequence[DataKey[PrefixMatch]]:
        return [PREFIX_MATCH.of(self.name)]

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        tokenized = request.data.get(self._tokens)
        if tokenized is None or not endpoints:
            return
        block_tokens = self._block_tokens_for(endpoints[0])
        block_bytes = block_tokens * BYTES_PER_TOKEN
        chains = [
            self._hasher.hashes(
                prompt.tokens,
                model=request.target_model,
                cache_salt=tokenized.cache_salt,
                block_bytes=block_bytes,
                max_blocks=self._blocks_to_match(block_tokens),
                with_rest=True,
            )
            for prompt in tokenized.prompts[:MAX_PROMPTS]
        ]
        prompt = self._memory.look_up(chains, block_bytes)
        request.data.set(PREFIX_MATCH.of(self.name), prompt.match)
        request.data.set(self._key, prompt)

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        prompt = request.data.get(self._key)
        if prompt is None or not prompt.match.total_blocks or not result.picked:
            return
        first = result.picked[0]
        prefill = result.profiles.get(PREFILL_PROFILE)
        others = prefill.picked[:1] if prefill is not None else ()
        self._memory.learn(prompt, first, [other for other in others if other.id != first.id])

    def endpoint_removed(self, endpoint_id: str) -> None:
        self._memory.forget(endpoint_id)

    def describe(self) -> Mapping[str, object]:
        return {"entries": len(self._memory)}

    def _block_tokens_for(self, first: Endpoint) -> int:
        reported = first.metrics.cache_block_size_tokens if self._auto_tune else 0
        return max(reported if reported > 0 else self._block_tokens, MIN_BLOCK_TOKENS)

    def _blocks_to_match(self, block_tokens: int) -> int:
        if self._max_tokens > 0:
            return max(self._max_tokens // block_tokens, 1)
        return self._max_blocks if self._max_blocks > 0 else sys.maxsize
