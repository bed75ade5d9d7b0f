"""What holds for every plugin of a role, whatever it prefers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import epp.plugins
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.plugin import REGISTRY, Filter, Handle, Params, Picker, Plugin, Scorer
from epp.core.request import InferenceRequest
from tests.fakes import make_endpoint, make_handle, make_request

epp.plugins.load()

MODELS = st.sampled_from(["m", "lora-a", "lora-b"])
METRICS = st.builds(
    EndpointMetrics,
    waiting_queue_size=st.integers(0, 1000),
    running_requests=st.integers(0, 1000),
    kv_cache_ratio=st.floats(0, 1),
    active_models=st.frozensets(MODELS),
    waiting_models=st.frozensets(MODELS),
    max_active_models=st.integers(0, 4),
    cache_block_size_tokens=st.integers(0, 32),
    cache_num_blocks=st.integers(0, 5),
    updated_at=st.none() | st.floats(999, 1000),
)


def made_from(metrics: list[EndpointMetrics]) -> list[Endpoint]:
    return [
        Endpoint(id=f"n/{i}", name=str(i), namespace="n", address=f"10.0.0.{i}", port=80, metrics=m)
        for i, m in enumerate(metrics)
    ]


ENDPOINTS = st.lists(METRICS, min_size=1, max_size=5).map(made_from)
SELECTIONS = st.lists(
    st.sampled_from(["10.0.0.0", "10.0.0.1:80", "10.0.0.2:81", "[10.0.0.3]", "", "x"]) | st.text()
).map(lambda entries: ",".join(entries).encode("utf-8", "replace"))
REQUESTS = st.builds(
    make_request,
    prompt=st.none() | st.text(),
    model=MODELS,
    headers=st.fixed_dictionaries({}, optional={"test-epp-endpoint-selection": SELECTIONS}),
)


def make(type_name: str, *, handle: Handle | None = None, **params: object) -> Plugin:
    declared = REGISTRY[type_name]
    known = {k: v for k, v in params.items() if k in declared.params.__struct_fields__}
    return declared.make(declared.params(**known), handle or make_handle())


def names(role: type[Plugin]) -> list[str]:
    """The types that fill the role; those that cannot do without parameters are no part of it."""
    return sorted(
        name
        for name, declared in REGISTRY.items()
        if has_defaults(declared.params) and issubclass(declared.cls, role)
    )


def has_defaults(params: type[Params]) -> bool:
    return len(params.__struct_defaults__) == len(params.__struct_fields__)


@pytest.mark.parametrize("name", names(Scorer))
@given(st.lists(st.tuples(REQUESTS, ENDPOINTS), min_size=1, max_size=3))
def test_scores_are_one_per_endpoint_and_stay_within_0_and_1(
    name: str, rounds: list[tuple[InferenceRequest, list[Endpoint]]]
) -> None:
    scorer = make(name)
    assert isinstance(scorer, Scorer)
    for request, endpoints in rounds:
        scores = scorer.score(request, endpoints)
        assert len(scores) == len(endpoints)
        assert all(0.0 <= score <= 1.0 for score in scores)


@pytest.mark.parametrize("name", names(Filter))
@given(REQUESTS, ENDPOINTS)
def test_a_filter_never_invents_or_repeats_an_endpoint(
    name: str, request: InferenceRequest, endpoints: list[Endpoint]
) -> None:
    plugin = make(name)
    assert isinstance(plugin, Filter)
    kept = plugin.filter(request, endpoints)
    assert all(any(k is e for e in endpoints) for k in kept)
    assert len({k.id for k in kept}) == len(kept)


@pytest.mark.parametrize("name", names(Picker))
@given(
    st.lists(st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1e-308, 7.0]), min_size=1, max_size=6),
    st.integers(-1, 8),
    st.integers(0, 5),
)
def test_a_picker_returns_distinct_members_as_many_as_it_may(
    name: str, totals: list[float], limit: int, seed: int
) -> None:
    picker = make(name, handle=make_handle(seed=seed), max_num_of_endpoints=limit)
    assert isinstance(picker, Picker)
    endpoints = [make_endpoint(str(i)) for i in range(len(totals))]
    picked = picker.pick(endpoints, totals)
    assert len(picked) == min(max(limit, 1), len(endpoints))
    assert len(set(picked)) == len(picked)
    assert set(picked) <= set(endpoints)


@pytest.mark.parametrize("name", names(Picker))
def test_a_picker_leaves_its_input_alone(name: str) -> None:
    picker = make(name, max_num_of_endpoints=3)
    assert isinstance(picker, Picker)
    endpoints, totals = [make_endpoint(str(i)) for i in range(5)], [1.0, 5.0, 3.0, 2.0, 4.0]
    picker.pick(endpoints, totals)
    assert [e.name for e in endpoints] == ["0", "1", "2", "3", "4"]
    assert totals == [1.0, 5.0, 3.0, 2.0, 4.0]
