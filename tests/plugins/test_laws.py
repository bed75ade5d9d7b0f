"""What holds for every plugin of a role, whatever it prefers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import epp.plugins
from epp.core.data import (
    IN_FLIGHT_LOAD,
    LATENCY_PREDICTIONS,
    MEDIA_MATCH,
    PEER_ENDPOINT,
    PREFIX_MATCH,
    TOKENIZED_PROMPT,
    CycleData,
    DataKey,
    InFlightLoad,
    LatencyPrediction,
    MediaMatch,
    PrefixMatch,
    PromptTokens,
    TokenizedPrompt,
)
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.plugin import (
    REGISTRY,
    DataProducer,
    EndpointListener,
    Filter,
    Handle,
    Params,
    Picker,
    Plugin,
    PreRequest,
    Scorer,
)
from epp.core.request import InferenceRequest
from tests.fakes import make_endpoint, make_handle, make_request, make_run

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
    attributes=st.dictionaries(st.just("depth/core-metrics-extractor"), st.floats()),
)


PLACES = st.sampled_from(["", "p", "q"])
LABELS: st.SearchStrategy[Mapping[str, str]] = st.fixed_dictionaries(
    {},
    optional={
        "llm-d.ai/role": st.sampled_from(["decode", "prefill", "encode", "both", "other", ""]),
        "llm-d.ai/context-length-range": st.sampled_from(["0-2", "1-1", "2-90000", "x"]),
        "kubernetes.io/hostname": PLACES,
        "topology.kubernetes.io/zone": PLACES,
    },
)


def made_from(known: list[tuple[EndpointMetrics, Mapping[str, str]]]) -> list[Endpoint]:
    return [
        Endpoint(
            id=f"n/{i}",
            name=str(i),
            namespace="n",
            address=f"10.0.0.{i}",
            port=80,
            labels=labels,
            metrics=metrics,
        )
        for i, (metrics, labels) in enumerate(known)
    ]


ENDPOINTS = st.lists(st.tuples(METRICS, LABELS), min_size=1, max_size=5).map(made_from)
IDS = st.sampled_from([f"n/{i}" for i in range(6)])
HEADROOMS = st.floats(-100, 100)
MADE: dict[DataKey[Any], st.SearchStrategy[Any]] = {
    PREFIX_MATCH.of(): st.builds(
        PrefixMatch,
        total_blocks=st.integers(3, 4),
        block_bytes=st.just(64),
        matched_blocks=st.dictionaries(IDS, st.integers(0, 3)),
    ),
    IN_FLIGHT_LOAD.of(): st.builds(
        InFlightLoad,
        requests=st.dictionaries(IDS, st.integers(0, 200)),
        tokens=st.dictionaries(IDS, st.integers(0, 10**6)),
        uncached_tokens=st.none() | st.dictionaries(IDS, st.integers(0, 10**4)),
    ),
    LATENCY_PREDICTIONS.of(): st.dictionaries(
        IDS,
        st.builds(
            LatencyPrediction,
            ttft_ms=st.floats(0, 1e5),
            tpot_ms=st.floats(0, 1e3),
            ttft_headroom_ms=HEADROOMS,
            tpot_headroom_ms=HEADROOMS,
        ),
    ),
    MEDIA_MATCH.of(): st.builds(
        MediaMatch, st.sampled_from([0, 9]), st.dictionaries(IDS, st.integers(0, 9))
    ),
    PEER_ENDPOINT.of(): ENDPOINTS.map(lambda endpoints: endpoints[0]),
}
TOKENS: dict[DataKey[Any], st.SearchStrategy[Any]] = {
    TOKENIZED_PROMPT.of(): st.integers(0, 3).map(
        lambda number: TokenizedPrompt((PromptTokens(bytes(4 * number)),))
    ),
}
SELECTIONS = st.lists(
    st.sampled_from(["10.0.0.0", "10.0.0.1:80", "10.0.0.2:81", "[10.0.0.3]", "", "x"]) | st.text()
).map(lambda entries: ",".join(entries).encode("utf-8", "replace"))


def with_data(request: InferenceRequest, data: CycleData) -> InferenceRequest:
    return msgspec.structs.replace(request, data=data)


PLAIN_REQUESTS = st.builds(
    make_request,
    prompt=st.none() | st.text(),
    model=MODELS,
    headers=st.fixed_dictionaries(
        {},
        optional={
            "test-epp-endpoint-selection": SELECTIONS,
            "x-session-token": st.sampled_from([b"bi8w", b"bi8x", b"bi85"]) | st.binary(),
            "x-tier": st.sampled_from([b"p", b"q", b"", b"\xff"]),
        },
    ),
)
REQUESTS = st.builds(
    with_data,
    PLAIN_REQUESTS,
    st.fixed_dictionaries({}, optional=MADE | TOKENS).map(CycleData),
)
# Some producers wait where there are tokens.
UNREAD_REQUESTS = st.builds(
    with_data, PLAIN_REQUESTS, st.fixed_dictionaries({}, optional=MADE).map(CycleData)
)


REQUIRED: Mapping[str, Mapping[str, object]] = {
    "endpoint-attribute-filter": {
        "attribute": "depth",
        "algorithm": {"type": "threshold", "threshold": {"operator": "LessThan", "value": 1}},
    },
    "endpoint-attribute-scorer": {
        "attributeKey": "depth",
        "algorithm": {"type": "linear_lower_is_better"},
    },
    "header-label-affinity-scorer": {"headerName": "X-Tier", "labelKey": "kubernetes.io/hostname"},
}
"""Parameters for types that cannot do without."""


def make(type_name: str, *, handle: Handle | None = None, **params: object) -> Plugin:
    declared = REGISTRY[type_name]
    known = {k: v for k, v in params.items() if k in declared.params.__struct_fields__}
    required = msgspec.convert(REQUIRED.get(type_name, {}), declared.params)
    return declared.make(msgspec.structs.replace(required, **known), handle or make_handle())


def names(role: type[Plugin]) -> list[str]:
    """The types that fill the role; without parameters that they need they are no part of it."""
    return sorted(
        name
        for name, declared in REGISTRY.items()
        if (name in REQUIRED or has_defaults(declared.params)) and issubclass(declared.cls, role)
    )


def has_defaults(params: type[Params]) -> bool:
    is_complete = len(params.__struct_defaults__) == len(params.__struct_fields__)
    return is_complete and not list(params().problems())


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


FILTERS: list[tuple[str, dict[str, object]]] = [
    *[(name, {**REQUIRED.get(name, {})}) for name in names(Filter)],
    ("label-selector-filter", {"matchLabels": {"llm-d.ai/role": "decode"}}),
    ("by-label", {"label": "llm-d.ai/role", "validValues": ["decode"]}),
    ("utilization-filter", {"conditions": [{"metric": "active-requests", "maxValue": 9}]}),
    ("concurrency-detector", {"concurrencyMode": "hybrid"}),
    ("prefix-cache-affinity-filter", {"ttftSource": "latencyPredictor", "affinityThreshold": 0.5}),
    ("context-length-aware", {"enableFiltering": True}),
    ("topology-affinity-filter", {"minAffinity": "zone"}),
]


@pytest.mark.parametrize(("name", "params"), FILTERS)
@given(REQUESTS, ENDPOINTS)
def test_a_filter_never_invents_or_repeats_an_endpoint(
    name: str, params: dict[str, object], request: InferenceRequest, endpoints: list[Endpoint]
) -> None:
    declared = REGISTRY[name]
    plugin = declared.make(msgspec.convert(params, declared.params), make_handle())
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


@pytest.mark.parametrize("name", names(DataProducer))
@given(st.lists(st.tuples(UNREAD_REQUESTS, ENDPOINTS), min_size=1, max_size=3))
def test_a_producer_does_without_what_others_make_and_sets_what_it_says(
    name: str, rounds: list[tuple[InferenceRequest, list[Endpoint]]]
) -> None:
    producer = make(name)
    assert isinstance(producer, DataProducer)
    producer.bind("mine")
    assert all(key.producer == "mine" for key in producer.produces)
    for request, endpoints in rounds:
        assert producer.produce(request, []) is None
        assert producer.produce(request, endpoints) is None
        if isinstance(producer, PreRequest):
            run = make_run(*endpoints, picked=endpoints[-1:])
            producer.pre_request(request, SchedulingResult("p", {"p": run}))
        if isinstance(producer, EndpointListener):
            producer.endpoint_removed("nobody/knows")
            producer.endpoint_removed(endpoints[-1].id)
