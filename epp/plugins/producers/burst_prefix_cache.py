"""``burst-prefix-cache-producer``: place requests with equal prompts that come together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from epp.core.data import PREFIX_MATCH, TOKENIZED_PROMPT, DataKey, PrefixMatch, TokenizedPrompt
from epp.core.endpoint import Endpoint
from epp.core.plugin import DataProducer, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest
from epp.prefixcache.bursts import BurstRequest, Placement
from epp.prefixcache.hashing import MAX_PROMPTS, BlockHasher

BYTES_PER_TOKEN = 4
UNLIMITED = -1
DEFAULT_MAX_BLOCKS = 2048
MARGIN_SECONDS = 0.3


class BurstPrefixCacheParams(Params, frozen=True):
    """How long a burst is, and how it is spread."""

    window_duration_ms: Annotated[
        int, Meta(ge=1, le=10_000, description="Milliseconds that a burst is waited for.")
    ] = 100
    max_per_replica: Annotated[
        int, Meta(description="Requests with the same prompt per endpoint; -1 is no limit.")
    ] = UNLIMITED
    block_size_tokens: Annotated[int, Meta(ge=1, description="Tokens per block.")] = 64
    max_prefix_tokens_to_match: Annotated[
        int, Meta(ge=0, description="Tokens to look at; 0 is 2048 blocks.")
    ] = 0
    min_colocate_blocks: Annotated[
        int, Meta(ge=0, description="Blocks from which on a common beginning counts; 0: never.")
    ] = 0
    max_batch_size: Annotated[
        int, Meta(description="Requests per burst, the others are not waited for; -1: all.")
    ] = 1000
    balance_by: Annotated[
        Literal["requests", "tokens"], Meta(description="What endpoints get equally much of.")
    ] = "requests"

    def problems(self) -> Iterable[tuple[str, str]]:
        for name, value in (
            ("maxPerReplica", self.max_per_replica),
            ("maxBatchSize", self.max_batch_size),
        ):
            if value < 1 and value != UNLIMITED:
                yield name, "must be -1 or at least 1"
        if 0 < self.max_prefix_tokens_to_match < self.block_size_tokens:
            yield "maxPrefixTokensToMatch", "must be 0 or at least blockSizeTokens"


@plugin("burst-prefix-cache-producer", params=BurstPrefixCacheParams, stability=Stability.ALPHA)
class BurstPrefixCacheProducer(DataProducer):
    """Wait for the requests of a time window and send equal prompts to the same endpoint.

    While caches are cold nothing tells equal prompts where to go, so that each endpoint would
    compute them anew. The match is whole at the endpoint that a request was assigned and none
    elsewhere; for a request unlike all others it is none at all.

    Differs: a request without a prompt, or one too many for the window, goes on at once.

    Source: llm-d-router v0.10, requestcontrol/dataproducer/burstprefix.
    """

    def __init__(self, params: BurstPrefixCacheParams, handle: Handle) -> None:
        self._params = params
        self._window_seconds = params.window_duration_ms / 1000
        self._max_blocks = (
            params.max_prefix_tokens_to_match // params.block_size_tokens or DEFAULT_MAX_BLOCKS
        )
        self._hasher = BlockHasher()
        self._burst: _Burst | None = None
        self._tokens = TOKENIZED_PROMPT.of()
        self.time_limit_seconds = self._window_seconds + MARGIN_SECONDS

    @property
    def consumes(self) -> Sequence[DataKey[TokenizedPrompt]]:
        return [self._tokens]

    @property
    def produces(self) -> Sequence[DataKey[PrefixMatch]]:
        return [PREFIX_MATCH.of(self.name)]

    def produce(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Awaitable[None] | None:
        tokenized = request.data.get(self._tokens)
        if tokenized is None or not tokenized.token_count or not endpoints:
            return None
        burst, limit = self._burst, self._params.max_batch_size
        if burst is None:
            burst = self._burst = _Burst(endpoints)
            asyncio.get_running_loop().call_later(self._window_seconds, self._close, burst)
        elif limit != UNLIMITED and len(burst.requests) >= limit:
            return None
        member = BurstRequest(
            [
                self._hasher.hashes(
                    prompt.tokens,
                    model=request.target_model,
                    cache_salt=tokenized.cache_salt,
                    block_bytes=self._params.block_size_tokens * BYTES_PER_TOKEN,
                    max_blocks=self._max_blocks,
                    with_rest=True,
                )
                for prompt in tokenized.prompts[:MAX_PROMPTS]
            ]
        )
        burst.requests.append(member)
        return self._wait(request, burst, member)

    async def _wait(self, request: InferenceRequest, burst: _Burst, member: BurstRequest) -> None:
        await burst.is_over.wait()
        total = member.total_blocks
        matched = {member.assigned: total} if member.assigned else {}
        block_bytes = self._params.block_size_tokens * BYTES_PER_TOKEN
        request.data.set(PREFIX_MATCH.of(self.name), PrefixMatch(total, block_bytes, matched))

    def _close(self, burst: _Burst) -> None:
        """The window is over: the next request opens another one."""
        self._burst = None
        params = self._params
        limit = params.max_per_replica
        try:
            Placement(
                burst.endpoints,
                max_per_endpoint=None if limit == UNLIMITED else limit,
                min_shared_blocks=params.min_colocate_blocks,
                by_blocks=params.balance_by == "tokens",
            ).assign(burst.requests)
        finally:  # whatever happens, nobody waits longer
            burst.is_over.set()


class _Burst:
    """The requests of a window; ``endpoints`` are the candidates of the first one."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = endpoints
        self.requests: list[BurstRequest] = []
        self.is_over = asyncio.Event()
