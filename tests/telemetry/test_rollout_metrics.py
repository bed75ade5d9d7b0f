from __future__ import annotations

from prometheus_client import CollectorRegistry

from epp.telemetry.rollout_metrics import RolloutMetrics
from tests.telemetry.worlds import series

PREFIX = "llm_d_epp_disaggregatedset"


def test_refusals_are_counted_by_plugin_and_selector() -> None:
    registry = CollectorRegistry()
    metrics = RolloutMetrics(registry)
    for selector in ("revision", "zone", "revision"):
        metrics.pin_unmatched("t", "a", selector)
    name = f"{PREFIX}_strict_header_no_match_total"
    assert series(registry) == {
        f'{name}{{plugin_name="a",plugin_type="t",selector="revision"}}': 2,
        f'{name}{{plugin_name="a",plugin_type="t",selector="zone"}}': 1,
    }


def test_a_share_stands_for_a_revision_as_long_as_there_is_one() -> None:
    registry = CollectorRegistry()
    metrics = RolloutMetrics(registry)
    assert series(registry) == {}
    metrics.revisions_weighed("t", "a", "sum", {"old": 0.75, "new": 0.25})
    metrics.revisions_weighed("t", "b", "max-role", {"old": 1.0})
    metrics.revisions_weighed("t", "a", "sum", {"new": 1.0})
    name = f"{PREFIX}_revision_gating_share"
    assert series(registry) == {
        f'{name}{{mode="sum",plugin_name="a",plugin_type="t",revision="new"}}': 1.0,
        f'{name}{{mode="max-role",plugin_name="b",plugin_type="t",revision="old"}}': 1.0,
    }
