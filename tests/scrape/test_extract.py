from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoint import EndpointMetrics
from epp.scrape.extract import MAX_ADAPTERS, MAX_SEARCHED_BYTES, Extractor, ScrapeSettings
from epp.scrape.spec import MetricSpec

FIXTURES = Path(__file__).parents[1] / "fixtures" / "metrics"
EXPECTED: dict[str, dict[str, Any]] = {
    name: column
    for name, column in json.loads((FIXTURES / "expected.json").read_text()).items()
    if not name.startswith("_")
}


def settings_of(
    waiting: str, running: str, kv_cache: str, lora: str = "", cache_info: str = ""
) -> ScrapeSettings:
    spec = MetricSpec.parse(kv_cache)
    return ScrapeSettings(
        waiting=MetricSpec.parse(waiting),
        running=MetricSpec.parse(running),
        kv_cache=(spec,) if spec else (),
        lora=MetricSpec.parse(lora),
        cache_info=MetricSpec.parse(cache_info),
    )


ENGINES = {
    "vllm": ScrapeSettings(),
    "sglang": settings_of("sglang:num_queue_reqs", "sglang:num_running_reqs", "sglang:token_usage"),
    "trtllm-serve": settings_of(
        "trtllm_num_requests_waiting",
        "trtllm_num_requests_running",
        "trtllm_kv_cache_utilization",
    ),
    "triton-tensorrt-llm": settings_of(
        "nv_trt_llm_request_metrics{request_type=waiting}",
        "nv_trt_llm_request_metrics{request_type=scheduled}",
        "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
    ),
}

# Where we differ from the router's column, and why.
DIFFERENCES: dict[str, dict[str, Any]] = {
    # the older name of the KV metric is tried when the newer one is absent
    "vllm-0.8.5.txt": {"kv": 0.4186046511627907},
    # untyped reads like a gauge; NaN is missing
    "odd-values.txt": {"running": 5, "kv": 0.0},
    # the bad line (running) costs only itself
    "malformed-syntax.txt": {
        "waiting": 7,
        "running": 0,
        "kv": 0.5,
        "active": [],
        "waiting_models": [],
        "max_active": 0,
        "block_size": 0,
        "num_blocks": 0,
    },
    # cache info has the label names of vLLM only
    "sglang-0.5.txt": {"block_size": 0, "num_blocks": 0},
    "trtllm-serve.txt": {"block_size": 0, "num_blocks": 0},
    "triton-tensorrt-llm.txt": {"block_size": 0, "num_blocks": 0},
}
NOT_OURS = {"engine", "errors", "note", "discarded"}


def extract(
    page: str | bytes,
    settings: ScrapeSettings | None = None,
    previous: EndpointMetrics | None = None,
) -> EndpointMetrics | None:
    content = page.encode() if isinstance(page, str) else page
    extractor = Extractor(settings or ScrapeSettings())
    return extractor.extract(content, previous or EndpointMetrics(), 1.0)


def as_column(metrics: EndpointMetrics) -> dict[str, Any]:
    return {
        "waiting": metrics.waiting_queue_size,
        "running": metrics.running_requests,
        "kv": metrics.kv_cache_ratio,
        "active": sorted(metrics.active_models),
        "waiting_models": sorted(metrics.waiting_models),
        "max_active": metrics.max_active_models,
        "block_size": metrics.cache_block_size_tokens,
        "num_blocks": metrics.cache_num_blocks,
    }


def test_every_recorded_page_has_expected_values() -> None:
    assert {path.name for path in FIXTURES.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_recorded_page_gives_its_values(name: str) -> None:
    column = EXPECTED[name]["router"]
    expected = {key: value for key, value in column.items() if key not in NOT_OURS}
    metrics = extract((FIXTURES / name).read_bytes(), ENGINES[column["engine"]])
    assert metrics is not None
    assert metrics.updated_at == 1.0
    assert as_column(metrics) == expected | DIFFERENCES.get(name, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("vllm-0.8.5.txt", 0.4186046511627907), ("vllm-0.11-lora.txt", 0.0)],
)
def test_a_kv_metric_that_was_named_is_the_only_one_tried(name: str, value: float) -> None:
    settings = ScrapeSettings(kv_cache=(MetricSpec("vllm:gpu_cache_usage_perc"),))
    metrics = extract((FIXTURES / name).read_bytes(), settings)
    assert metrics is not None
    assert metrics.kv_cache_ratio == value


BEFORE = EndpointMetrics(
    waiting_queue_size=1,
    running_requests=2,
    kv_cache_ratio=0.3,
    active_models=frozenset({"a"}),
    waiting_models=frozenset({"b"}),
    max_active_models=4,
    cache_block_size_tokens=5,
    cache_num_blocks=6,
    updated_at=0.5,
)


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("vllm:num_requests_waiting 9.9", {"waiting_queue_size": 9}),
        ("vllm:num_requests_waiting -3", {"waiting_queue_size": 0}),
        ("vllm:num_requests_running 9", {"running_requests": 9}),
        ("vllm:kv_cache_usage_perc 0.9", {"kv_cache_ratio": 0.9}),
        ("vllm:kv_cache_usage_perc 57", {"kv_cache_ratio": 1.0}),
        ("vllm:kv_cache_usage_perc -1", {"kv_cache_ratio": 0.0}),
        ('vllm:cache_config_info{block_size="16"} 1', {"cache_block_size_tokens": 16}),
        (
            'vllm:cache_config_info{block_size="None",num_gpu_blocks="7"} 1',
            {"cache_num_blocks": 7},
        ),
        (f'vllm:cache_config_info{{block_size="{"9" * 5000}"}} 1', {}),
        ('vllm:cache_config_info{block_size="",num_gpu_blocks="-1"} 1', {}),
        (
            'vllm:lora_requests_info{running_lora_adapters=" x ,,y",max_lora="?"} 1',
            {"active_models": frozenset({"x", "y"}), "waiting_models": frozenset()},
        ),
    ],
)
def test_what_a_page_lacks_keeps_its_value(line: str, changes: dict[str, Any]) -> None:
    expected = msgspec.structs.replace(BEFORE, updated_at=1.0, **changes)
    assert extract(f"{line}\n", previous=BEFORE) == expected


@pytest.mark.parametrize(
    "page", ["", "<html>", "other 1\n", 'vllm:lora_requests_info{max_lora="2"} -1\n']
)
def test_a_page_with_none_of_the_metrics_is_unusable(page: str) -> None:
    assert extract(page) is None


def test_disabled_metrics_are_not_read() -> None:
    page = (FIXTURES / "vllm-0.11-lora.txt").read_bytes()
    assert extract(page, settings_of("", "", "")) is None
    metrics = extract(page, settings_of("vllm:num_requests_waiting", "", ""))
    assert metrics == EndpointMetrics(waiting_queue_size=3, updated_at=1.0)


@pytest.mark.parametrize(
    ("series", "active"),
    [
        ([("a", "1"), ("b", "2"), ("c", "1.5")], {"b"}),
        ([("a", "2"), ("b", "2")], {"a"}),
        ([("a", "1"), ("", "2")], set()),
        ([("a", "0"), ("b", "-1"), ("c", "NaN")], {"a"}),
    ],
)
def test_the_lora_series_written_last_counts(
    series: list[tuple[str, str]], active: set[str]
) -> None:
    page = "".join(
        f'vllm:lora_requests_info{{running_lora_adapters="{names}"}} {value}\n'
        for names, value in series
    )
    metrics = extract(page, previous=BEFORE)
    assert metrics is not None
    assert metrics.active_models == active


def test_the_adapters_of_a_list_are_bounded() -> None:
    names = [f"a{i}" for i in range(MAX_ADAPTERS + 5)]
    metrics = extract(f'vllm:lora_requests_info{{running_lora_adapters="{",".join(names)}"}} 1\n')
    assert metrics is not None
    assert metrics.active_models == set(names[:MAX_ADAPTERS])


def test_only_the_beginning_of_a_giant_page_is_searched() -> None:
    line = "vllm:num_requests_waiting 77\n"
    padding = "#" * (MAX_SEARCHED_BYTES - len(line)) + "\n"
    last = extract(padding[1:] + line + "rest\n")
    assert last is not None
    assert last.waiting_queue_size == 77
    assert extract(padding + line + "rest\n") is None


def test_many_lora_series_leave_the_other_metrics_readable() -> None:
    page = 'vllm:lora_requests_info{max_lora="2"} 1\n' * 5000
    page += 'vllm:cache_config_info{block_size="16"} 1\nvllm:num_requests_waiting 7\n'
    metrics = extract(page)
    assert metrics is not None
    assert (metrics.max_active_models, metrics.cache_block_size_tokens) == (2, 16)
    assert metrics.waiting_queue_size == 7


@given(st.binary(max_size=200))
def test_no_page_raises(noise: bytes) -> None:
    page = b"vllm:num_requests_waiting" + noise + b"\nvllm:cache_config_info{" + noise
    extract(page)
