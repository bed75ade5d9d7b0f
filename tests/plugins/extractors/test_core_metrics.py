from __future__ import annotations

from typing import Any

import msgspec
import pytest

from epp.core.engine import BUILT_IN, ENGINE_LABELS, Engine
from epp.core.metricspec import MetricSpec
from epp.plugins.extractors.core_metrics import CoreMetricsExtractor, CoreMetricsExtractorParams
from tests.fakes import make_handle

MINE = Engine(
    waiting=MetricSpec("q", (("state", "waiting"),)),
    running=None,
    kv_cache=(),
    lora=None,
    cache_info=MetricSpec("c"),
    block_size_label="size",
    num_blocks_label="num_gpu_blocks",
    attributes=(("temperature", MetricSpec("t")),),
)
CONFIG = {
    "name": "mine",
    "queuedRequestsSpec": "q{state=waiting}",
    "cacheInfoSpec": "c",
    "cacheBlockSizeLabelName": "size",
    "customMetrics": [{"attributeKey": "temperature", "metricSpec": "t"}],
}


def params_of(**values: Any) -> CoreMetricsExtractorParams:
    return msgspec.convert(values, CoreMetricsExtractorParams)


def test_built_in_engines_need_no_configuration() -> None:
    reading = CoreMetricsExtractor(params_of(), make_handle()).reading
    assert reading.by_name == BUILT_IN
    assert (reading.labels, reading.default) == (ENGINE_LABELS, None)


def test_a_configured_engine_is_what_it_says_and_no_more() -> None:
    params = params_of(engineLabelKey="x", engineConfigs=[CONFIG], defaultEngine="mine")
    reading = CoreMetricsExtractor(params, make_handle()).reading
    assert reading.by_name == {**BUILT_IN, "mine": MINE}
    assert reading.labels == ("x", ENGINE_LABELS[1])
    assert reading.default == MINE


@pytest.mark.parametrize("default", [{}, {"defaultEngine": "vllm"}])
def test_a_configured_engine_stands_for_the_built_in_one(default: dict[str, str]) -> None:
    params = params_of(engineConfigs=[{**CONFIG, "name": "vllm"}], **default)
    reading = CoreMetricsExtractor(params, make_handle()).reading
    assert reading.by_name["vllm"] == reading.default == MINE


CUSTOM = {"attributeKey": "a", "metricSpec": "m"}


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"engineConfigs": [CONFIG]}, []),
        ({"defaultEngine": "sglang"}, []),
        ({"defaultEngine": "mine"}, ["defaultEngine"]),
        ({"engineConfigs": [{"name": "default"}]}, ["engineConfigs[0].name"]),
        (
            {"engineConfigs": [CONFIG, CONFIG]},
            ["engineConfigs[0].name", "engineConfigs[1].name"],
        ),
        (
            {"engineConfigs": [{"name": "a", "kvUsageSpec": "{"}]},
            ["engineConfigs[0].kvUsageSpec"],
        ),
        (
            {"engineConfigs": [{"name": "a", "customMetrics": [{**CUSTOM, "metricSpec": "m{"}]}]},
            ["engineConfigs[0].customMetrics[0].metricSpec"],
        ),
        (
            {"engineConfigs": [{"name": "a", "customMetrics": [CUSTOM, CUSTOM]}]},
            [f"engineConfigs[0].customMetrics[{i}].attributeKey" for i in (0, 1)],
        ),
    ],
)
def test_a_wrong_engine_is_told_by_its_place(values: dict[str, Any], keys: list[str]) -> None:
    assert [key for key, _ in params_of(**values).problems()] == keys
