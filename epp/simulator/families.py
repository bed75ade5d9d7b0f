"""The histograms of a model server: names, texts and buckets.

Source: llm-d-inference-sim v0.7.1, metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

# fmt: off
_TTFT = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)
_TPOT = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)
_LATENCY = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0,
    60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)
# fmt: on


class Family(StrEnum):
    """A histogram by its name on the wire."""

    TIME_TO_FIRST_TOKEN = "vllm:time_to_first_token_seconds"
    TIME_PER_OUTPUT_TOKEN = "vllm:time_per_output_token_seconds"
    INTER_TOKEN_LATENCY = "vllm:inter_token_latency_seconds"
    E2E_LATENCY = "vllm:e2e_request_latency_seconds"
    QUEUE_TIME = "vllm:request_queue_time_seconds"
    INFERENCE_TIME = "vllm:request_inference_time_seconds"
    PREFILL_TIME = "vllm:request_prefill_time_seconds"
    DECODE_TIME = "vllm:request_decode_time_seconds"
    PROMPT_TOKENS = "vllm:request_prompt_tokens"
    GENERATION_TOKENS = "vllm:request_generation_tokens"
    MAX_GENERATION_TOKENS = "vllm:max_num_generation_tokens"
    PARAMS_MAX_TOKENS = "vllm:request_params_max_tokens"


HELP = {
    Family.TIME_TO_FIRST_TOKEN: "Histogram of time to first token in seconds.",
    Family.TIME_PER_OUTPUT_TOKEN: "Histogram of time per output token in seconds.",
    Family.INTER_TOKEN_LATENCY: "Histogram of inter-token latency in seconds.",
    Family.E2E_LATENCY: "Histogram of end to end request latency in seconds.",
    Family.QUEUE_TIME: "Histogram of time spent in WAITING phase for request.",
    Family.INFERENCE_TIME: "Histogram of time spent in RUNNING phase for request.",
    Family.PREFILL_TIME: "Histogram of time spent in PREFILL phase for request.",
    Family.DECODE_TIME: "Histogram of time spent in DECODE phase for request.",
    Family.PROMPT_TOKENS: "Number of prefill tokens processed.",
    Family.GENERATION_TOKENS: "Number of generation tokens processed.",
    Family.MAX_GENERATION_TOKENS: "Histogram of maximum number of requested generation tokens.",
    Family.PARAMS_MAX_TOKENS: "Histogram of the max_tokens request parameter.",
}


def bounds(family: Family, max_model_len: int) -> Sequence[float]:
    """The upper bounds of a histogram's buckets."""
    if family is Family.TIME_TO_FIRST_TOKEN:
        return _TTFT
    if family in (Family.TIME_PER_OUTPUT_TOKEN, Family.INTER_TOKEN_LATENCY):
        return _TPOT
    if family.endswith("_seconds"):
        return _LATENCY
    return _one_two_five(max_model_len)


def _one_two_five(largest: int) -> Sequence[float]:
    """1, 2, 5, 10, 20, 50 and so on."""
    steps: list[float] = []
    scale = 1
    while scale <= largest:
        steps += [scale * step for step in (1, 2, 5) if scale * step <= largest]
        scale *= 10
    return steps
