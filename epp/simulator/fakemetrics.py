"""``--fake-metrics``: a metrics page that is told instead of measured.

Source: llm-d-inference-sim v0.7.1, fake metrics.
Differs: the histograms of generated tokens and of max_tokens are not swapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
BucketCounts = tuple[Count, ...]


class FakeLora(msgspec.Struct, frozen=True):
    """One series of ``vllm:lora_requests_info``; its value is the timestamp."""

    running: str = ""
    waiting: str = ""
    timestamp: float = 0.0


class FakeMetrics(msgspec.Struct, frozen=True, rename="kebab"):
    """The values to report; histograms as counts per bucket, trailing zeros omitted."""

    running_requests: Count = 0
    waiting_requests: Count = 0
    kv_cache_usage: Annotated[float, Meta(ge=0, le=1)] = 0.0
    loras: tuple[FakeLora, ...] = ()
    ttft_buckets_values: BucketCounts = ()
    tpot_buckets_values: BucketCounts = ()
    e2erl_buckets_values: BucketCounts = ()
    queue_time_buckets_values: BucketCounts = ()
    inf_time_buckets_values: BucketCounts = ()
    prefill_time_buckets_values: BucketCounts = ()
    decode_time_buckets_values: BucketCounts = ()
    request_prompt_tokens: BucketCounts = ()
    request_generation_tokens: BucketCounts = ()
    request_params_max_tokens: BucketCounts = ()
    request_max_generation_tokens: BucketCounts = ()
    request_success_total: dict[str, Count] = {}
    total_prompt_tokens: Count = 0
    total_generation_tokens: Count = 0


def decode_fake_metrics(texts: Sequence[str]) -> FakeMetrics:
    """Read the flag's JSON.

    Raises:
        ValueError: it is not JSON, or a value is out of range.
    """
    return msgspec.json.decode(" ".join(texts), type=FakeMetrics)
