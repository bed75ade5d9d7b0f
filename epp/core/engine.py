"""Model servers by their kind: under which names each of them tells its load.

Source: llm-d-router v0.10, core-metrics-extractor.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from epp.core.metricspec import MetricSpec

KV_CACHE_SPECS = (
    MetricSpec("vllm:kv_cache_usage_perc"),
    MetricSpec("vllm:gpu_cache_usage_perc"),
)
"""What vLLM calls the used share of its KV cache, today and before.

Differs: the Go picker knows only the older name, and scores newer servers as if they were empty.
"""

ENGINE_LABELS = ("llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type")
"""The labels that name an endpoint's engine; the first one that it has counts."""


class Engine(msgspec.Struct, frozen=True):
    """The metrics of one kind of model server; by default those of vLLM.

    A spec of None (of ``kv_cache``: none at all) is not read. The first of ``kv_cache`` that a page
    has is used. The size and number of cache blocks are labels of ``cache_info``, or gauges of
    their own, which win. ``attributes`` are any other metrics, by what they are to be called.
    """

    waiting: MetricSpec | None = MetricSpec("vllm:num_requests_waiting")
    running: MetricSpec | None = MetricSpec("vllm:num_requests_running")
    kv_cache: tuple[MetricSpec, ...] = KV_CACHE_SPECS
    lora: MetricSpec | None = MetricSpec("vllm:lora_requests_info")
    cache_info: MetricSpec | None = MetricSpec("vllm:cache_config_info")
    block_size_label: str = "block_size"
    num_blocks_label: str = "num_gpu_blocks"
    block_size: MetricSpec | None = None
    num_blocks: MetricSpec | None = None
    attributes: tuple[tuple[str, MetricSpec], ...] = ()

    def named(self, extractor: str) -> Engine:
        """The same with attributes called ``NAME/EXTRACTOR``, as endpoints have them."""
        named = tuple([(f"{name}/{extractor}", spec) for name, spec in self.attributes])
        return msgspec.structs.replace(self, attributes=named)


class Engines(msgspec.Struct, frozen=True):
    """Which engine an endpoint has, told by its labels.

    One without a label, or with the name of an engine that nobody knows, has the ``default``; where
    that is None it is what the command line says.
    """

    labels: tuple[str, ...]
    by_name: Mapping[str, Engine]
    default: Engine | None = None

    def of(self, labels: Mapping[str, str], otherwise: Engine) -> Engine:
        """The engine of an endpoint with these labels; ``otherwise`` if there is no default."""
        for label in self.labels:
            name = labels.get(label)
            if name:
                return self.by_name.get(name) or self.default or otherwise
        return self.default or otherwise


def _requests(value: str) -> MetricSpec:
    return MetricSpec("nv_trt_llm_request_metrics", (("request_type", value),))


def _cache(value: str) -> MetricSpec:
    return MetricSpec("nv_trt_llm_kv_cache_block_metrics", (("kv_cache_block_type", value),))


BUILT_IN: Mapping[str, Engine] = {
    "vllm": Engine(),
    "sglang": Engine(
        waiting=MetricSpec("sglang:num_queue_reqs"),
        running=MetricSpec("sglang:num_running_reqs"),
        kv_cache=(MetricSpec("sglang:token_usage"),),
        lora=None,
        cache_info=MetricSpec("sglang:cache_config_info"),
        block_size_label="page_size",
        num_blocks_label="num_pages",
    ),
    "trtllm-serve": Engine(
        waiting=MetricSpec("trtllm_num_requests_waiting"),
        running=MetricSpec("trtllm_num_requests_running"),
        kv_cache=(MetricSpec("trtllm_kv_cache_utilization"),),
        lora=None,
        cache_info=None,
        block_size=MetricSpec("trtllm_kv_cache_tokens_per_block"),
        num_blocks=MetricSpec("trtllm_kv_cache_max_blocks"),
    ),
    "triton-tensorrt-llm": Engine(
        waiting=_requests("waiting"),
        running=_requests("scheduled"),
        kv_cache=(_cache("fraction"),),
        lora=None,
        cache_info=None,
        block_size=_cache("tokens_per"),
        num_blocks=_cache("max"),
    ),
    "triton": Engine(
        waiting=MetricSpec("nv_inference_pending_request_count"),
        running=MetricSpec("nv_inference_exec_count"),
        kv_cache=(),
        lora=None,
        cache_info=None,
    ),
}
"""The engines that need no configuration, as pods' labels name them."""
