from __future__ import annotations

from prometheus_client import CollectorRegistry

from epp.core.endpoint import EndpointMetrics
from epp.datastore.store import Datastore
from epp.telemetry.producer_metrics import MAX_LOADS, ProducerMetrics
from tests.telemetry.worlds import endpoint, pool, series

A, B = endpoint("a"), endpoint("b")
P = "llm_d_epp_inflight"
E = "llm_d_epp_encoder_cache"


def world() -> tuple[CollectorRegistry, ProducerMetrics, Datastore]:
    store = pool("p", {"a": EndpointMetrics(), "b": EndpointMetrics()})
    registry = CollectorRegistry()
    return registry, ProducerMetrics(registry, store), store


def labels(name: str, fairness_id: str = "alice") -> str:
    return (
        f'{{endpoint_name="{name}",fairness_id="{fairness_id}",namespace="ns",'
        'priority="3",producer_name="p"}'
    )


def test_load_is_counted_by_endpoint_and_by_whose_it_is() -> None:
    registry, metrics, store = world()
    one, other = metrics.load_gauge("p", A, "alice", 3), metrics.load_gauge("p", A, "alice", 3)
    one(1, 100)
    other(1, 20)
    metrics.load_gauge("p", B, "bob", 3)(1, 5)
    one(0, -100)
    assert series(registry, P) == {
        f"{P}_requests{labels('a')}": 2,
        f"{P}_tokens{labels('a')}": 20,
        f"{P}_requests{labels('b', 'bob')}": 1,
        f"{P}_tokens{labels('b', 'bob')}": 5,
    }
    store.remove_endpoint(A.id)
    assert len(series(registry, P)) == 2


def test_fairness_ids_are_other_when_there_are_too_many() -> None:
    registry, metrics, store = world()
    for number in range(MAX_LOADS):
        metrics.load_gauge("p", B, f"f{number}", 3)
    crowded = metrics.load_gauge("p", A, "alice", 3)
    crowded(1, 10)
    store.remove_endpoint(B.id)
    metrics.load_gauge("p", A, "alice", 3)(1, 1)
    crowded(-1, -10)
    assert series(registry, f"{P}_requests") == {
        f"{P}_requests{labels('a', 'other')}": 0,
        f"{P}_requests{labels('a')}": 1,
    }


def test_media_are_counted_by_kind_and_by_who_has_them() -> None:
    registry, metrics, store = world()
    metrics.media_sought("t", "x", "image", [A, B])
    metrics.media_sought("t", "x", "image", [B])
    metrics.media_sought("t", "x", "video", [])
    metrics.media_matched("t", "x", 1, 2)
    metrics.media_matched("t", "x", 0, 0)
    page = series(registry, E)
    plugin = 'plugin_name="x",plugin_type="t"'
    expected = {
        f'{E}_queries_total{{modality="image",{plugin}}}': 2,
        f'{E}_queries_total{{modality="video",{plugin}}}': 1,
        f'{E}_hits_total{{modality="image",{plugin},pod="ns/a"}}': 1,
        f'{E}_hits_total{{modality="image",{plugin},pod="ns/b"}}': 2,
        f"{E}_hit_ratio_sum{{{plugin}}}": 0.5,
        f"{E}_hit_ratio_count{{{plugin}}}": 1,
    }
    assert {name: page.get(name) for name in expected} == expected
    store.remove_endpoint(B.id)
    assert len(series(registry, f"{E}_hits")) == 1
