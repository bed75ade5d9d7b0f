from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from epp.telemetry.disagg_metrics import DisaggMetrics
from epp.telemetry.labels import MAX_SERIES
from tests.telemetry.worlds import series

NEW = ("llm_d_epp_disagg_decision_total", "llm_d_epp_pd_decision_total")
OLD = (
    "llm_d_inference_scheduler_disagg_decision_total",
    "llm_d_inference_scheduler_pd_decision_total",
)


def labels(name: str, model: str, stages: str) -> str:
    return (
        f'{{decision_type="{stages}",model_name="{model}",plugin_name="{name}",'
        'plugin_type="disagg-profile-handler"}'
    )


@pytest.mark.parametrize("family", NEW)
def test_decisions_are_counted_by_plugin_model_and_stages(family: str) -> None:
    registry = CollectorRegistry()
    metrics = DisaggMetrics(registry, set())
    for name, model, stages in (
        ("a", "m", "decode-only"),
        ("a", "m", "decode-only"),
        ("a", "m", "prefill-decode"),
        ("b", "", "decode-only"),
    ):
        metrics.disaggregated("disagg-profile-handler", name, model, stages)
    assert series(registry, family) == {
        family + labels("a", "m", "decode-only"): 2,
        family + labels("a", "m", "prefill-decode"): 1,
        family + labels("b", "unknown", "decode-only"): 1,
    }


@pytest.mark.parametrize("family", OLD)
def test_the_older_families_are_sums_over_plugins(family: str) -> None:
    registry = CollectorRegistry()
    metrics = DisaggMetrics(registry, set())
    metrics.disaggregated("disagg-profile-handler", "a", "m", "encode-decode")
    metrics.disaggregated("disagg-profile-handler", "b", "m", "encode-decode")
    assert series(registry, family) == {
        f'{family}{{decision_type="encode-decode",model_name="m"}}': 2
    }


def test_models_are_shown_up_to_a_number_and_those_that_are_pinned() -> None:
    registry = CollectorRegistry()
    metrics = DisaggMetrics(registry, {"mine"})
    for number in range(MAX_SERIES + 2):
        metrics.disaggregated("t", "n", f"m{number}", "decode-only")
    metrics.disaggregated("t", "n", "mine", "decode-only")
    page = series(registry, OLD[0])
    assert len(page) == MAX_SERIES + 2
    assert page[f'{OLD[0]}{{decision_type="decode-only",model_name="other"}}'] == 2
    assert page[f'{OLD[0]}{{decision_type="decode-only",model_name="mine"}}'] == 1


def test_names_are_cut_to_what_a_label_may_hold() -> None:
    registry = CollectorRegistry()
    metrics = DisaggMetrics(registry, set())
    metrics.disaggregated("t", "n", "x" * 300, "decode-only")
    metrics.disaggregated("t", "n", "x" * 300, "decode-only")
    (count,) = series(registry, OLD[0]).values()
    assert count == 2
