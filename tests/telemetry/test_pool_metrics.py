from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from epp.core.endpoint import EndpointMetrics
from epp.datastore.store import Datastore, Pool
from epp.telemetry.pool_metrics import PoolMetrics
from tests.telemetry.worlds import endpoint, pool, series


class World:
    """The metrics over a datastore."""

    def __init__(self, store: Datastore | None = None) -> None:
        self.store = store or Datastore()
        self.registry = CollectorRegistry()
        self.metrics = PoolMetrics(self.registry, self.store)

    def page(self, prefix: str = "") -> dict[str, float]:
        return series(self.registry, prefix)


def test_the_pool_s_gauges_are_means_of_fresh_endpoints() -> None:
    store = pool(
        "p",
        {
            "a": EndpointMetrics(
                waiting_queue_size=2, kv_cache_ratio=0.25, running_requests=1, updated_at=99.0
            ),
            "b": EndpointMetrics(
                waiting_queue_size=5, kv_cache_ratio=0.76, running_requests=4, updated_at=98.0
            ),
            "c": EndpointMetrics(
                waiting_queue_size=90, kv_cache_ratio=1.0, running_requests=9, updated_at=97.9
            ),
        },
    )
    store.put_endpoint(endpoint("never-read"))
    world = World(store)
    world.metrics.refresh(100.0, 2.0)
    queues = {"a": 2, "b": 5, "c": 90, "never-read": 0}
    assert world.page("inference_pool") == {
        'inference_pool_average_kv_cache_utilization{name="p"}': 0.505,
        'inference_pool_average_queue_size{name="p"}': 3,
        'inference_pool_average_running_requests{name="p"}': 2.5,
        'inference_pool_ready_pods{name="p"}': 2,
    } | {
        f'inference_pool_per_pod_queue_size{{model_server_pod="{name}",name="p"}}': size
        for name, size in queues.items()
    }
    new = {
        "average_kv_cache_utilization": 0.51,
        "average_queue_size": 3.5,
        "average_running_requests": 2.5,
        "std_dev_kv_cache_utilization": 0.36,
        "std_dev_queue_size": 2.12,
        "std_dev_running_requests": 2.12,
        "ready_endpoints": 2,
    }
    assert world.page("llm_d_epp") == {
        f'llm_d_epp_{name}{{name="p"}}': value for name, value in new.items()
    } | {
        f'llm_d_epp_per_endpoint_queue_size{{model_server_endpoint="{name}",name="p"}}': size
        for name, size in queues.items()
    }


def test_one_endpoint_does_not_deviate() -> None:
    world = World(pool("p", {"a": EndpointMetrics(waiting_queue_size=4, updated_at=1.0)}))
    world.metrics.refresh(1.0, 2.0)
    assert set(world.page("llm_d_epp_std_dev").values()) == {0}
    assert world.page()['llm_d_epp_average_queue_size{name="p"}'] == 4


def test_ready_endpoints_go_to_zero_and_averages_stay() -> None:
    world = World(pool("p", {"a": EndpointMetrics(waiting_queue_size=4, updated_at=1.0)}))
    world.metrics.refresh(1.0, 2.0)
    world.metrics.refresh(10.0, 2.0)
    page = world.page()
    assert page['inference_pool_ready_pods{name="p"}'] == 0
    assert page['llm_d_epp_ready_endpoints{name="p"}'] == 0
    assert page['inference_pool_average_queue_size{name="p"}'] == 4


def test_without_a_pool_the_gauges_stay_and_the_queues_go() -> None:
    world = World(pool("p", {"a": EndpointMetrics(updated_at=1.0)}))
    world.metrics.refresh(1.0, 2.0)
    world.store.set_pool(None)
    world.metrics.refresh(10.0, 2.0)
    page = world.page()
    assert page['inference_pool_ready_pods{name="p"}'] == 1
    assert not [name for name in page if "per_pod" in name or "per_endpoint" in name]


def test_another_pool_s_name_replaces_the_old_one() -> None:
    world = World(pool("old", {"a": EndpointMetrics(updated_at=1.0)}))
    world.metrics.refresh(1.0, 2.0)
    world.store.set_pool(Pool(name="new", namespace="ns"))
    world.metrics.refresh(1.0, 2.0)
    assert not [name for name in world.page() if 'name="old"' in name]


def test_the_scrape_interval_is_the_one_reported_last() -> None:
    world = World()
    world.metrics.scraped(0.05)
    world.metrics.scraped(0.12)
    assert world.page("epp_scrape") == {"epp_scrape_interval_seconds": 0.12}


@pytest.mark.parametrize("prefix", ["llm_d_inference_scheduler", "llm_d_epp"])
def test_failures_to_read_an_endpoint_are_counted(prefix: str) -> None:
    world = World()
    for _ in range(3):
        world.metrics.poll_failed("s")
    world.metrics.extract_failed("s", "e")
    assert world.page(prefix) == {
        f'{prefix}_datalayer_poll_errors_total{{source_type="s"}}': 3,
        f'{prefix}_datalayer_extract_errors_total{{extractor_type="e",source_type="s"}}': 1,
    }
