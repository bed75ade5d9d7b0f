"""Typed keys for what one plugin makes and another (or the same one, later) reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

if TYPE_CHECKING:
    from epp.core.endpoint import Endpoint

T = TypeVar("T")


class DataKey(Generic[T]):
    """The name of an attribute together with its type, and with who makes it.

    Several producers may make the same kind of data: ``of`` gives the key of one of them.
    ``default_producer`` is the plugin type that makes it where the configuration names none, and
    which is added by itself when somebody consumes the key.
    """

    __slots__ = ("_named", "default_producer", "name", "producer")

    def __init__(self, name: str, *, producer: str = "", default_producer: str = "") -> None:
        self.name = name
        self.producer = producer
        self.default_producer = default_producer
        self._named: dict[str, DataKey[T]] = {}

    def of(self, producer: str = "") -> DataKey[T]:
        """The key of what this producer makes, by its configured name; empty is the default one."""
        producer = producer or self.default_producer
        key = self._named.get(producer)
        if key is None:
            key = self._named[producer] = DataKey(
                self.name, producer=producer, default_producer=self.default_producer
            )
        return key

    def __repr__(self) -> str:
        return f"DataKey({self.name!r})" if not self.producer else f"{self.name}/{self.producer}"


class CycleData:
    """What plugins know about one request; lives as long as the request.

    ``standing`` is what producers offer to every request for as long as they live themselves.
    """

    __slots__ = ("_lasting", "_values")

    def __init__(self, standing: Mapping[DataKey[Any], object] | None = None) -> None:
        self._values: dict[DataKey[Any], object] = {**standing} if standing else {}
        self._lasting: dict[DataKey[Any], object] | None = None

    def set(self, key: DataKey[T], value: T) -> None:
        """Keep ``value`` under ``key``, in place of what was there, until the request is routed."""
        self._values[key] = value

    def keep(self, key: DataKey[T], value: T) -> None:
        """The same, until the answer has ended; not for anything as large as a prompt."""
        self._values[key] = value
        if self._lasting is None:
            self._lasting = {}
        self._lasting[key] = value

    def get(self, key: DataKey[T]) -> T | None:
        """The value under ``key``, or None."""
        return cast("T | None", self._values.get(key))

    def every(self, key: DataKey[T]) -> list[T]:
        """The values of this kind of data, whoever made them."""
        return [cast("T", v) for known, v in self._values.items() if known.name == key.name]

    def lasting(self) -> CycleData:
        """What was to be kept, alone; a long answer need not hold its prompt."""
        return CycleData(self._lasting)


class PrefixMatch(msgspec.Struct, frozen=True):
    """How much of a prompt each endpoint has seen.

    The prompt has ``total_blocks`` blocks of ``block_bytes`` bytes, four of which count as a token;
    ``matched_blocks`` counts per endpoint id, absent means 0.
    """

    total_blocks: int
    block_bytes: int
    matched_blocks: Mapping[str, int]

    @property
    def block_tokens(self) -> int:
        """The size of a block in tokens."""
        return self.block_bytes // 4


class MediaFeature(msgspec.Struct, frozen=True):
    """An image, video or sound in a prompt: which one, and where in its tokens.

    ``hash`` tells equal contents, ``offset`` and ``length`` are in tokens.
    """

    modality: str
    hash: str
    offset: int
    length: int


class PromptTokens(msgspec.Struct, frozen=True):
    """One prompt as tokens, each four bytes of ``tokens``, little-endian."""

    tokens: bytes
    features: tuple[MediaFeature, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens) // 4


class TokenizedPrompt(msgspec.Struct, frozen=True):
    """What a request wants read: one prompt or several, and the salt of its cache."""

    prompts: tuple[PromptTokens, ...]
    cache_salt: str = ""

    @property
    def token_count(self) -> int:
        """The tokens of all prompts together."""
        return sum(map(len, self.prompts))


class InFlightLoad(msgspec.Struct, frozen=True):
    """What this picker has under way per endpoint id; absent means 0.

    ``requests`` and ``tokens`` are live: they change as requests come and go. ``uncached_tokens``
    are what the request at hand would add, None outside of a request.
    """

    requests: Mapping[str, int]
    tokens: Mapping[str, int]
    uncached_tokens: Mapping[str, int] | None = None


class LatencyPrediction(msgspec.Struct, frozen=True):
    """How long an endpoint would take; headroom is objective minus prediction, milliseconds."""

    ttft_ms: float
    tpot_ms: float
    ttft_headroom_ms: float
    tpot_headroom_ms: float
    dispatched_requests: int = 0

    @property
    def is_within_objectives(self) -> bool:
        """Whether neither time is over its objective."""
        return self.ttft_headroom_ms >= 0 and self.tpot_headroom_ms >= 0


class MediaMatch(msgspec.Struct, frozen=True):
    """How much of a request's media each endpoint has encoded before, in tokens by endpoint id."""

    total_size: int
    matched_size: Mapping[str, int]


PREFIX_MATCH: DataKey[PrefixMatch] = DataKey(
    "prefix-match", default_producer="approx-prefix-cache-producer"
)
TOKENIZED_PROMPT: DataKey[TokenizedPrompt] = DataKey(
    "tokenized-prompt", default_producer="token-producer"
)
IN_FLIGHT_LOAD: DataKey[InFlightLoad] = DataKey(
    "in-flight-load", default_producer="inflight-load-producer"
)
LATENCY_PREDICTIONS: DataKey[Mapping[str, LatencyPrediction]] = DataKey(
    "latency-predictions", default_producer="predicted-latency-producer"
)
"""By endpoint id; absent means that nobody could tell."""

MEDIA_MATCH: DataKey[MediaMatch] = DataKey(
    "media-match", default_producer="mm-embeddings-cache-producer"
)
SESSION_ID: DataKey[str] = DataKey("session-id", default_producer="session-id-producer")
AGENT_IDENTITY: DataKey[str] = DataKey("agent-identity", default_producer="agent-identity")
PEER_ENDPOINT: DataKey[Endpoint] = DataKey(
    "peer-endpoint", default_producer="disagg-profile-handler"
)
"""The endpoint that does the other half of a disaggregated request."""
