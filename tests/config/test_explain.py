from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from epp.config.explain import explain, parameters
from epp.config.load import DEFAULT_CONFIG, LoadedConfig
from tests.config.told import NEW, OLD, checked, load


def meaning(config: LoadedConfig) -> dict[str, Any]:
    """All that counts, without where it comes from."""
    parsers = [p.name for p in config.parsers if p in config.plugins]
    return {
        "plugins": {n: (e.declared.name, e.params) for n, e in config.entries.items()},
        "profiles": [
            (p.name, [(u.plugin.name, u.weight) for u in p.uses]) for p in config.profiles
        ],
        "producers": {producer.name for producer in config.producers},
        "parsers": parsers,
        "saturation": (config.saturation.name, getattr(config.saturation, "thresholds", None)),
        "discovery": config.discovery and config.discovery.name,
        "sources": [
            (use.source.name, [e.name for e in use.extractors]) for use in config.data_layer.sources
        ],
        "defaults": config.data_layer.has_defaults,
        "gates": config.gates,
    }


NAMES = st.sampled_from(
    ["a", "no", "7", "x: y", "#", "a'b\"c", "\u2028", "\U0001f600", "\x7f", "*"]
)
WEIGHTS = st.none() | st.integers(-3, 10**18) | st.floats(allow_nan=False, allow_infinity=False)
TYPES = {
    "queue-scorer": st.just({}),
    "decode-filter": st.just({}),
    "random-picker": st.fixed_dictionaries({}, optional={"maxNumOfEndpoints": st.integers(1, 9)}),
    "prefix-cache-scorer": st.fixed_dictionaries(
        {}, optional={"matchLengthWeight": st.floats(0, 1), "blockSize": st.integers(-1, 99)}
    ),
    "utilization-detector": st.fixed_dictionaries(
        {},
        optional={
            "kvCacheUtilThreshold": st.floats(1e-9, 1),
            "metricsStalenessThreshold": st.sampled_from(["1ns", "0.25ms", "200ms", "1h", "9999h"]),
        },
    ),
    "session-affinity-scorer": st.just({}),
}


@st.composite
def texts(draw: st.DrawFn) -> str:
    plugins: list[dict[str, Any]] = []
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        type_name = draw(st.sampled_from(sorted(TYPES)))
        plugins.append({"type": type_name, "name": name, "parameters": draw(TYPES[type_name])})
    picked = [p["name"] for p in plugins if p["type"] == "random-picker"]
    references = [
        {"pluginRef": p["name"], "weight": draw(WEIGHTS)}
        for p in plugins
        if p["name"] not in picked[1:]
    ]
    value: dict[str, Any] = {
        "plugins": plugins,
        "schedulingProfiles": [{"name": draw(NAMES), "plugins": references}],
    }
    if draw(st.booleans()):
        value["featureGates"] = ["flowControl"]
    if draw(st.booleans()):
        value["saturationDetector"] = {"kvCacheUtilThreshold": draw(st.floats(1e-9, 0.9))}
    if draw(st.booleans()):
        value["dataLayer"] = {"sources": [{"pluginRef": "metrics-data-source"}]}
        plugins.append({"type": "metrics-data-source"})
    head = draw(st.sampled_from(["", OLD, NEW]))
    return head + str(yaml.safe_dump(value, allow_unicode=False))


@given(texts(), st.booleans())
def test_what_is_explained_loads_and_means_the_same(text: str, comments: bool) -> None:
    config = load(text)
    explained = explain(config, comments=comments)
    again = load(explained)
    assert meaning(again) == meaning(config)
    assert explain(again, comments=False) == explain(config, comments=False)


def test_a_comment_says_where_each_value_comes_from() -> None:
    text = (
        "plugins:\n- type: queue-scorer\n- type: random-picker\n  parameters:\n"
        "    MAXNUMOFENDPOINTS: 2\nschedulingProfiles:\n- name: a\n  plugins:\n"
        "  - pluginRef: queue-scorer\n"
    )
    lines = [" ".join(line.split()) for line in explain(load(text)).splitlines()]
    assert lines == [
        "apiVersion: inference.networking.x-k8s.io/v1alpha1 # default",
        "kind: EndpointPickerConfig # default",
        "plugins:",
        "- type: queue-scorer # c.yaml:2",
        "- type: random-picker # c.yaml:3",
        "parameters:",
        "maxNumOfEndpoints: 2 # c.yaml:5",
        "- type: single-profile-handler # added: no handler is declared",
        "schedulingProfiles:",
        "- name: a # c.yaml:7",
        "plugins:",
        "- pluginRef: queue-scorer # c.yaml:9",
        "weight: 1 # default",
        "- pluginRef: random-picker # added: the profile has no picker",
        "saturationDetector:",
        "queueDepthThreshold: 5 # default",
        "kvCacheUtilThreshold: 0.8 # default",
    ]


def test_a_name_of_several_lines_stays_in_one() -> None:
    text = 'plugins: [{type: queue-scorer, name: "a\\n#b"}]'
    assert meaning(load(explain(load(text)))) == meaning(load(text))


@pytest.mark.parametrize("text", [DEFAULT_CONFIG, NEW, OLD])
def test_what_is_explained_is_found_right(text: str) -> None:
    assert [f for f in checked(explain(load(text))) if f.severity == "error"] == []


def test_parameters_are_written_as_in_yaml_without_those_that_are_unset() -> None:
    written = parameters(load("plugins: [{type: random-picker}]").entries["random-picker"].params)
    assert written == {"maxNumOfEndpoints": 1}
