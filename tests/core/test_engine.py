from __future__ import annotations

from collections.abc import Mapping

import pytest

from epp.core.engine import BUILT_IN, ENGINE_LABELS, Engine, Engines
from epp.core.metricspec import MetricSpec

NEWER, OLDER = ENGINE_LABELS
VLLM, SGLANG, TRITON = BUILT_IN["vllm"], BUILT_IN["sglang"], BUILT_IN["triton"]


@pytest.mark.parametrize(
    ("labels", "default", "engine"),
    [
        ({}, None, VLLM),
        ({}, TRITON, TRITON),
        ({NEWER: "sglang"}, TRITON, SGLANG),
        ({OLDER: "sglang"}, TRITON, SGLANG),
        ({NEWER: "sglang", OLDER: "triton"}, None, SGLANG),
        ({NEWER: "", OLDER: "triton"}, None, TRITON),
        ({NEWER: "unheard-of", OLDER: "triton"}, SGLANG, SGLANG),
        ({NEWER: "unheard-of"}, None, VLLM),
    ],
)
def test_the_first_label_that_is_there_names_the_engine(
    labels: Mapping[str, str], default: Engine | None, engine: Engine
) -> None:
    assert Engines(ENGINE_LABELS, BUILT_IN, default).of(labels, VLLM) is engine


def test_an_engine_is_one_of_vllm_unless_it_says_otherwise() -> None:
    assert Engine() == VLLM
    assert TRITON.kv_cache == ()
    assert TRITON.cache_info is None


def test_attributes_bear_the_name_of_their_extractor() -> None:
    spec = MetricSpec("x")
    assert Engine(attributes=(("a", spec),)).named("e").attributes == (("a/e", spec),)


def cache(kind: str) -> str:
    return f'nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="{kind}"}}'


BUILT_IN_METRICS = {
    "vllm": [
        "vllm:num_requests_waiting",
        "vllm:num_requests_running",
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "vllm:lora_requests_info",
        "vllm:cache_config_info: block_size, num_gpu_blocks",
    ],
    "sglang": [
        "sglang:num_queue_reqs",
        "sglang:num_running_reqs",
        "sglang:token_usage",
        "sglang:cache_config_info: page_size, num_pages",
    ],
    "trtllm-serve": [
        "trtllm_num_requests_waiting",
        "trtllm_num_requests_running",
        "trtllm_kv_cache_utilization",
        "trtllm_kv_cache_tokens_per_block",
        "trtllm_kv_cache_max_blocks",
    ],
    "triton-tensorrt-llm": [
        'nv_trt_llm_request_metrics{request_type="waiting"}',
        'nv_trt_llm_request_metrics{request_type="scheduled"}',
        cache("fraction"),
        cache("tokens_per"),
        cache("max"),
    ],
    "triton": ["nv_inference_pending_request_count", "nv_inference_exec_count"],
}


@pytest.mark.parametrize("name", [*BUILT_IN])
def test_a_built_in_engine_reads_the_metrics_of_its_model_server(name: str) -> None:
    engine = BUILT_IN[name]
    labels = f"{engine.cache_info}: {engine.block_size_label}, {engine.num_blocks_label}"
    read = [
        *[engine.waiting, engine.running, *engine.kv_cache, engine.lora],
        *[labels if engine.cache_info else None, engine.block_size, engine.num_blocks],
    ]
    assert [str(spec) for spec in read if spec is not None] == BUILT_IN_METRICS[name]
    assert BUILT_IN.keys() == BUILT_IN_METRICS.keys()
