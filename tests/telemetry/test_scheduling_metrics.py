from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from epp.core.endpoint import Endpoint
from epp.datastore.store import Datastore
from epp.telemetry.labels import MAX_SERIES
from epp.telemetry.scheduling_metrics import MAX_ATTEMPTS, SchedulingMetrics
from tests.fakes import make_endpoint
from tests.telemetry.worlds import series

OLD = "inference_extension_scheduler_attempts_total"
NEW = "llm_d_epp_scheduler_attempts_total"


class World:
    """The metrics over a datastore with two endpoints."""

    def __init__(self, *pinned: str) -> None:
        self.registry = CollectorRegistry()
        self.store = Datastore()
        self.a = Endpoint("default/a-rank-1", "a-rank-1", "default", "10.0.0.1", 8001, pod="a")
        self.b = make_endpoint("b")
        self.store.set_endpoints([self.a, self.b])
        self.metrics = SchedulingMetrics(self.registry, self.store, set(pinned))

    def attempts(self, name: str = NEW) -> dict[str, float]:
        return series(self.registry, name)


def labels(name: str, status: str, target: str, pod: str, namespace: str, port: str) -> str:
    label = "endpoint_name" if name == NEW else "pod_name"
    values = {
        "status": status,
        "target_model_name": target,
        label: pod,
        "namespace": namespace,
        "port": port,
    }
    spelled = ",".join([f'{key}="{values[key]}"' for key in sorted(values)])
    return f"{name}{{{spelled}}}"


@pytest.mark.parametrize("name", [OLD, NEW])
def test_cycles_are_counted_by_who_came_first(name: str) -> None:
    world = World()
    for picked in (world.a, world.b, world.a, None):
        world.metrics.scheduled(0.001, "t", picked)
    assert world.attempts(name) == {
        labels(name, "success", "t", "a", "default", "8001"): 2,
        labels(name, "success", "t", "b", "default", "8000"): 1,
        labels(name, "failure", "t", "", "", ""): 1,
    }


def test_cycles_and_plugins_are_timed_under_both_names() -> None:
    world = World()
    world.metrics.scheduled(0.5, "t", None)
    world.metrics.plugin_timer("Scorer", "queue-scorer", "q")(0.25)
    page = series(world.registry)
    plugin = 'extension_point="Scorer",plugin_name="q",plugin_type="queue-scorer"'
    for prefix in ("inference_extension", "llm_d_epp"):
        assert page[f"{prefix}_scheduler_e2e_duration_seconds_sum"] == 0.5
        assert page[f"{prefix}_plugin_duration_seconds_sum{{{plugin}}}"] == 0.25


def test_the_attempts_of_an_endpoint_go_with_it() -> None:
    world = World()
    for picked in (world.a, world.b, None):
        world.metrics.scheduled(0.001, "t", picked)
    world.store.remove_endpoint(world.a.id)
    world.store.remove_endpoint("nobody")
    assert list(world.attempts()) == [
        labels(NEW, "success", "t", "b", "default", "8000"),
        labels(NEW, "failure", "t", "", "", ""),
    ]


def test_the_models_of_attempts_are_bounded() -> None:
    world = World("pinned")

    def attempt(target: str, picked: Endpoint | None) -> None:
        world.metrics.scheduled(0.001, target, picked)

    for number in range(MAX_ATTEMPTS + 50):
        attempt(f"m{number}", world.a)
    attempt("m0", world.a)
    attempt("pinned", world.a)
    attempt("new", world.b)
    page = world.attempts()
    assert len(page) == MAX_ATTEMPTS + 3
    assert page[labels(NEW, "success", "m0", "a", "default", "8001")] == 2
    assert page[labels(NEW, "success", "other", "a", "default", "8001")] == 50
    assert page[labels(NEW, "success", "other", "b", "default", "8000")] == 1
    assert page[labels(NEW, "success", "pinned", "a", "default", "8001")] == 1
    world.store.remove_endpoint(world.a.id)
    attempt("new", world.b)
    assert world.attempts() == {
        labels(NEW, "success", "other", "b", "default", "8000"): 1,
        labels(NEW, "success", "new", "b", "default", "8000"): 1,
    }


def test_targets_that_differ_only_where_they_are_cut_share_a_series() -> None:
    world = World()
    for ending in "ab":
        world.metrics.scheduled(0.001, "m" * 128 + ending, world.a)
    assert list(world.attempts().values()) == [2]


def test_rewrites_are_counted_and_bounded() -> None:
    world = World("pinned")
    for number in range(MAX_SERIES + 50):
        world.metrics.model_rewritten("r", f"m{number}", "t")
    world.metrics.model_rewritten("r", "pinned", "t")
    world.metrics.model_rewritten("r", "m0", "t")
    for prefix in ("inference_extension", "llm_d_epp"):
        name = f"{prefix}_model_rewrite_decisions_total"
        page = series(world.registry, name)
        assert len(page) == MAX_SERIES + 2

        def line(model: str, name: str = name) -> str:
            return f'{name}{{model_name="{model}",model_rewrite_name="r",target_model="t"}}'

        assert [page[line(model)] for model in ("m0", "other", "pinned")] == [2, 50, 1]


def test_what_plugins_do_wrong_is_counted_from_zero() -> None:
    registry = CollectorRegistry()
    metrics = SchedulingMetrics(registry, Datastore(), ())
    labels = '{extension_point="Scorer",plugin_name="mine",plugin_type="my-scorer"}'
    names = ("errors_total", "overruns_total", "set_aside")

    def values() -> list[float]:
        page = series(registry, "epp_plugin_")
        assert set(page) == {f"epp_plugin_{name}{labels}" for name in names}
        return [page[f"epp_plugin_{name}{labels}"] for name in names]

    which = ("Scorer", "my-scorer", "mine")
    metrics.plugin_timer(*which)
    assert values() == [0, 0, 0]
    metrics.plugin_failed(*which, ValueError())
    metrics.plugin_overran(*which, 1.0)
    metrics.plugin_overran(*which, 1.0)
    metrics.plugin_set_aside(*which)
    assert values() == [1, 2, 1]
    metrics.plugin_timer(*which)
    assert values() == [1, 2, 0]
