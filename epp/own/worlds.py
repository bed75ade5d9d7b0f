"""Made-up pools and requests to measure plugins with: every value differs, none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

from epp.core import data as keys
from epp.core.data import CycleData, DataKey
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.request import InferenceRequest, RequestBody

SEED = 42
PROMPT = "Answer in one sentence: where does this request go, and why? " * 32
_ADAPTERS = [f"adapter-{number}" for number in range(8)]
_BLOCK_BYTES = 64


def endpoints(count: int, now: float) -> list[Endpoint]:
    """So many endpoints in three zones, with metrics as of ``now``."""
    random = Random(SEED)
    return [
        Endpoint(
            id=f"bench/server-{number}",
            name=f"server-{number}",
            namespace="bench",
            address=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
            port=8000,
            labels={"zone": f"zone-{number % 3}", "llm-d.ai/role": "both"},
            metrics=EndpointMetrics(
                waiting_queue_size=random.randrange(20),
                running_requests=random.randrange(1, 200),
                kv_cache_ratio=random.random(),
                active_models=frozenset(random.sample(_ADAPTERS, 2)),
                waiting_models=frozenset(random.sample(_ADAPTERS, 1)),
                max_active_models=4,
                cache_block_size_tokens=16,
                cache_num_blocks=20_000,
                updated_at=now,
            ),
            pod=f"server-{number}",
        )
        for number in range(count)
    ]


class World:
    """A pool, and requests for it with the data that producers make.

    ``wanted`` are further keys, for data of the same kinds that other producers make.
    """

    def __init__(self, pool: Sequence[Endpoint], wanted: Iterable[DataKey[Any]] = ()) -> None:
        self.pool = pool
        made = produced(pool)
        by_name = {key.name: value for key, value in made.items()}
        self._data = {key: by_name[key.name] for key in wanted if key.name in by_name}
        for key, value in made.items():
            self._data[key] = self._data[key.of()] = value

    def request(self, number: int) -> InferenceRequest:
        """The request of this number: a completion of a prompt that ends like no other."""
        return InferenceRequest(
            request_id=f"bench-{number}",
            headers={
                ":path": b"/v1/completions",
                "content-type": b"application/json",
                "x-session-token": b"session-%d" % number,
                "test-epp-endpoint-selection": self.pool[0].destination.encode(),
            },
            body=RequestBody(model="adapter-1", prompt=f"{PROMPT} {number}", max_tokens=100),
            incoming_model="adapter-1",
            target_model="adapter-1",
            size_bytes=len(PROMPT) + 60,
            data=CycleData(self._data),
        )


def produced(pool: Sequence[Endpoint]) -> Mapping[DataKey[Any], object]:
    """What producers would tell of these endpoints."""
    random = Random(SEED)
    total = len(PROMPT) // _BLOCK_BYTES
    ids = [endpoint.id for endpoint in pool]
    tokens = len(PROMPT) // 4
    return {
        keys.PREFIX_MATCH: keys.PrefixMatch(
            total, _BLOCK_BYTES, {name: random.randrange(total + 1) for name in ids}
        ),
        keys.IN_FLIGHT_LOAD: keys.InFlightLoad(
            {name: random.randrange(50) for name in ids},
            {name: random.randrange(50_000) for name in ids},
            {name: random.randrange(tokens + 1) for name in ids},
        ),
        keys.LATENCY_PREDICTIONS: {
            name: keys.LatencyPrediction(
                random.uniform(50, 500),
                random.uniform(5, 50),
                random.uniform(-100, 400),
                random.uniform(-10, 40),
            )
            for name in ids
        },
        keys.TOKENIZED_PROMPT: keys.TokenizedPrompt((keys.PromptTokens(bytes(4 * tokens)),)),
        keys.MEDIA_MATCH: keys.MediaMatch(100, {name: random.randrange(101) for name in ids}),
        keys.SESSION_ID: "session-1",
        keys.AGENT_IDENTITY: "agent-1",
    }


def totals(pool: Sequence[Endpoint]) -> list[float]:
    """A sum of scores for each endpoint."""
    random = Random(SEED)
    return [random.uniform(0, 3) for _ in pool]


def result(pool: Sequence[Endpoint], picked: Endpoint) -> SchedulingResult:
    """One profile picked this endpoint."""
    run = ProfileRun(
        profile="default",
        candidates=tuple(pool),
        filters=(),
        scored=tuple(pool),
        scorers=(),
        totals=tuple(totals(pool)),
        picker="bench",
        picked=(picked,),
    )
    return SchedulingResult("default", {"default": run})
