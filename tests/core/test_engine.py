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
