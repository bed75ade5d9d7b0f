from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from epp.datastore.store import Datastore
from epp.telemetry.flow_metrics import FlowMetrics
from tests.telemetry.worlds import pool, series


@pytest.mark.parametrize(("store", "name"), [(pool("p", {}), "p"), (Datastore(), "")])
def test_saturation_is_what_was_measured_last(store: Datastore, name: str) -> None:
    registry = CollectorRegistry()
    metrics = FlowMetrics(registry, store)
    assert series(registry) == {}
    metrics.saturation_measured("d", 0.25, 3)
    metrics.saturation_measured("d", 1.5, 2)
    labels = f'inference_pool="{name}",stage="effective"'
    assert series(registry) == {
        f"inference_extension_flow_control_pool_saturation{{{labels}}}": 1.5,
        f"llm_d_epp_flow_control_pool_saturation{{{labels}}}": 1.5,
        'llm_d_epp_flow_control_stale_endpoints{detector="d"}': 2,
    }


def test_waiting_is_counted_by_flow_and_priority() -> None:
    registry = CollectorRegistry()
    metrics = FlowMetrics(registry, Datastore())
    metrics.queue_sizes[("alice", "-1")].value += 2
    metrics.queue_seconds[("alice", "-1", "Dispatched")].observe(0.02)
    page = series(registry)
    prefix, flow = "inference_extension_flow_control", 'fairness_id="alice"'
    assert page[f'{prefix}_queue_size{{{flow},priority="-1"}}'] == 2
    labels = f'{flow},outcome="Dispatched",priority="-1"'
    assert page[f"{prefix}_request_queue_duration_seconds_sum{{{labels}}}"] == 0.02
