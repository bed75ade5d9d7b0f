from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoint import EndpointMetrics
from epp.core.engine import BUILT_IN, Engine
from epp.core.metricspec import MetricSpec
from epp.scrape.extract import MAX_ADAPTERS, MAX_SEARCHED_BYTES, MetricsReader
from tests.scrape.pages import Family, PlainSample, Step, families, parse, render, steps

FIXTURES = Path(__file__).parents[1] / "fixtures" / "metrics"
EXPECTED: dict[str, dict[str, Any]] = {
    name: column
    for name, column in json.loads((FIXTURES / "expected.json").read_text()).items()
    if not name.startswith("_")
}


def engine_of(
    waiting: str, running: str, kv_cache: str, lora: str = "", cache_info: str = ""
) -> Engine:
    spec = MetricSpec.parse(kv_cache)
    return Engine(
        waiting=MetricSpec.parse(waiting),
        running=MetricSpec.parse(running),
        kv_cache=(spec,) if spec else (),
        lora=MetricSpec.parse(lora),
        cache_info=MetricSpec.parse(cache_info),
    )


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
}
NOT_OURS = {"engine", "errors", "note", "discarded"}


def extract(
    page: str | bytes,
    engine: Engine | None = None,
    previous: EndpointMetrics | None = None,
) -> EndpointMetrics | None:
    content = page.encode() if isinstance(page, str) else page
    extractor = MetricsReader(engine or Engine())
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
    metrics = extract((FIXTURES / name).read_bytes(), BUILT_IN[column["engine"]])
    assert metrics is not None
    assert metrics.updated_at == 1.0
    assert as_column(metrics) == expected | DIFFERENCES.get(name, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("vllm-0.8.5.txt", 0.4186046511627907), ("vllm-0.11-lora.txt", 0.0)],
)
def test_a_kv_metric_that_was_named_is_the_only_one_tried(name: str, value: float) -> None:
    engine = Engine(kv_cache=(MetricSpec("vllm:gpu_cache_usage_perc"),))
    metrics = extract((FIXTURES / name).read_bytes(), engine)
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
    assert extract(page, engine_of("", "", "")) is None
    metrics = extract(page, engine_of("vllm:num_requests_waiting", "", ""))
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
def test_checklist_07_the_lora_series_written_last_counts(
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


def plain_whole(sample: PlainSample, label: str, otherwise: int) -> int:
    text = sample.labels.get(label, "")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else otherwise


def plain_lora(sample: PlainSample, previous: EndpointMetrics) -> dict[str, Any]:
    def names(label: str) -> frozenset[str]:
        return frozenset(filter(None, map(str.strip, sample.labels.get(label, "").split(","))))

    return {
        "active_models": names("running_lora_adapters"),
        "waiting_models": names("waiting_lora_adapters"),
        "max_active_models": plain_whole(sample, "max_lora", previous.max_active_models),
    }


def plain_cache(
    engine: Engine,
    info: PlainSample | None,
    gauges: tuple[PlainSample | None, PlainSample | None],
    previous: EndpointMetrics,
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    fields = ("cache_block_size_tokens", "cache_num_blocks")
    labels = (engine.block_size_label, engine.num_blocks_label)
    for field, label, gauge in zip(fields, labels, gauges, strict=True):
        if gauge:
            changes[field] = max(0, int(gauge.value))
        elif info:
            changes[field] = plain_whole(info, label, getattr(previous, field))
    return changes


def plain_extract(page: str, engine: Engine, previous: EndpointMetrics) -> EndpointMetrics | None:
    """The plain version of ``MetricsReader.extract``: parses the whole page for each metric."""

    def all_of(spec: MetricSpec | None) -> list[PlainSample]:
        return parse(page, spec) if spec else []

    def newest(spec: MetricSpec | None) -> PlainSample | None:
        return max(all_of(spec), key=lambda sample: sample.timestamp, default=None)

    waiting, running = newest(engine.waiting), newest(engine.running)
    kv_cache = next(filter(None, map(newest, engine.kv_cache)), None)
    cache_info = newest(engine.cache_info)
    series = [sample for sample in all_of(engine.lora) if sample.value >= 0]
    lora = max(series, key=lambda sample: sample.value, default=None)
    block_size, num_blocks = newest(engine.block_size), newest(engine.num_blocks)
    custom = {name: each for name, spec in engine.attributes if (each := newest(spec))}
    if not any((waiting, running, kv_cache, cache_info, lora, block_size, num_blocks, custom)):
        return None
    changes: dict[str, Any] = {"updated_at": 1.0}
    for field, count in (("waiting_queue_size", waiting), ("running_requests", running)):
        if count:
            changes[field] = max(0, int(count.value))
    if kv_cache:
        changes["kv_cache_ratio"] = min(1.0, max(0.0, kv_cache.value))
    if lora:
        changes |= plain_lora(lora, previous)
    gauges = (block_size, num_blocks)
    changes |= plain_cache(engine, cache_info, gauges, previous)
    attributes = {name: sample.value for name, sample in custom.items()}
    changes["attributes"] = {**previous.attributes, **attributes}
    return msgspec.structs.replace(previous, **changes)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"malformed-syntax.txt"}))
def test_a_recorded_page_reads_as_by_a_plain_parser(name: str) -> None:
    page = (FIXTURES / name).read_text()
    for engine in BUILT_IN.values():
        extractor = MetricsReader(engine)
        for _ in range(2):
            metrics = extractor.extract(page.encode(), BEFORE, 1.0)
            assert metrics == plain_extract(page, engine, BEFORE)


@pytest.mark.parametrize(
    "engine",
    [
        Engine(),
        engine_of("vllm:num_requests_waiting{engine=x}", "", "vllm:kv_cache_usage_perc"),
        Engine(
            cache_info=None,
            block_size=MetricSpec("other"),
            num_blocks=MetricSpec("vllm:num_requests_running"),
            attributes=(("x/y", MetricSpec("vllm:num_requests_waiting_by_reason")),),
        ),
    ],
    ids=["vllm", "labels", "gauges"],
)
@given(
    families(
        [
            "vllm:num_requests_waiting",
            "vllm:num_requests_waiting_by_reason",
            "vllm:num_requests_running",
            "vllm:kv_cache_usage_perc",
            "vllm:gpu_cache_usage_perc",
            "vllm:lora_requests_info",
            "vllm:cache_config_info",
            "other",
        ],
        [
            "engine",
            "running_lora_adapters",
            "waiting_lora_adapters",
            "max_lora",
            "block_size",
            "num_gpu_blocks",
        ],
    ),
    st.lists(steps, min_size=1, max_size=5),
)
def test_every_page_of_a_changing_server_reads_as_if_it_were_the_first(
    engine: Engine, families: list[Family], steps: list[Step]
) -> None:
    extractor = MetricsReader(engine)
    before = BEFORE
    for step in steps:
        page = render(families, step)
        metrics = extractor.extract(page.encode(), before, 1.0)
        assert metrics == MetricsReader(engine).extract(page.encode(), before, 1.0)
        assert metrics == plain_extract(page, engine, before)
        before = metrics or before
