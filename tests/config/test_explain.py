from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.config.explain import explain, parameters
from epp.config.load import DEFAULT_CONFIG, LoadedConfig
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Picker, PositiveDuration
from epp.saturation import AnyRoomDetector
from tests.config.loading import NEW, OLD, dump, load, own_type

FULL = (
    "plugins:\n"
    "- {type: queue-scorer, name: q}\n"
    "- {type: prefix-cache-scorer, parameters: {BlockSize: 5}}\n"
    "- {type: utilization-detector, parameters: {metricsStalenessThreshold: 150ms}}\n"
    "- {type: file-discovery, parameters: {path: /e, watchFile: true}}\n"
    "- {type: metrics-data-source}\n"
    "- {type: core-metrics-extractor}\n"
    "schedulingProfiles: [{name: 'a b', plugins: [{pluginRef: q, weight: 2.5}]}]\n"
    "featureGates: [flowControl]\n"
    "flowControl: {saturationDetector: {pluginRef: utilization-detector}}\n"
    "requestHandler: {parsers: [{pluginRef: openai-parser}]}\n"
    "dataLayer:\n"
    "  injectDefaults: false\n"
    "  discovery: {pluginRef: file-discovery}\n"
    "  sources:\n"
    "  - {pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}\n"
)


def meaning(config: LoadedConfig) -> list[Any]:
    """All that decides what a configuration does."""
    detector = config.saturation
    return [
        [(name, e.declared.name, e.params) for name, e in config.entries.items()],
        [(p.name, [(u.plugin.name, u.weight) for u in p.uses]) for p in config.profiles],
        [producer.name for producer in config.producers],
        [(parser.type, parser.name) for parser in config.parsers],
        detector.thresholds if isinstance(detector, AnyRoomDetector) else detector.name,
        config.discovery and config.discovery.name,
        [(u.source.name, [e.name for e in u.extractors]) for u in config.data_layer.sources],
        config.data_layer.has_defaults,
        config.scheduler.handler.name,
        config.gates,
    ]


@pytest.mark.parametrize("text", ["", OLD, NEW, DEFAULT_CONFIG, OLD + FULL, NEW + FULL])
@pytest.mark.parametrize("comments", [False, True])
def test_what_is_explained_means_the_same(text: str, *, comments: bool) -> None:
    config = load(text)
    explained = explain(config, comments=comments)
    again = load(explained)
    assert meaning(again) == meaning(config)
    assert explain(again, comments=False) == explain(config, comments=False)


TYPES = st.sampled_from(
    [
        *["queue-scorer", "prefix-cache-scorer", "max-score-picker", "random-picker"],
        *["decode-filter", "approx-prefix-cache-producer", "utilization-detector", "openai-parser"],
        *["active-request-scorer", "lora-affinity-scorer", "single-profile-handler"],
    ]
)
NAMES = st.text(
    st.sampled_from(
        "abyn-_.:#'\"\\ {}[]!&*%@`|>,?~0\t\n\x7f\x85\xa0\u2028\ufeff\ufffe\u00e9\U0001f600"
    ),
    min_size=1,
    max_size=4,
) | st.sampled_from(["yes", "null", "on", "1e3", "0x1", "2001-01-01", "=", "<<", ".inf"])
PARAMETERS = st.sampled_from(
    [None, {}, {"maxNumOfEndpoints": 3}, {"blockSize": 8}, {"queueDepthThreshold": 9}]
)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    plugins = [{"name": n, "type": draw(TYPES), "parameters": draw(PARAMETERS)} for n in names]
    pickers = [p["name"] for p in plugins if str(p["type"]).endswith("picker")]
    handlers = [p["name"] for p in plugins if str(p["type"]).endswith("handler")]
    left_out = {*pickers[1:], *handlers[1:]}
    plugins = [p for p in plugins if p["name"] not in left_out]
    value: dict[str, Any] = {"plugins": plugins}
    if draw(st.booleans()):
        uses = st.fixed_dictionaries(
            {
                "pluginRef": st.sampled_from(
                    [p["name"] for p in plugins if p["name"] not in pickers]
                )
            },
            optional={"weight": st.none() | st.floats(-10, 10) | st.integers(-3, 3)},
        )
        references = draw(st.lists(uses, max_size=3)) if len(plugins) > len(pickers[:1]) else []
        value["schedulingProfiles"] = [{"name": draw(NAMES), "plugins": references}]
    if draw(st.booleans()):
        value["saturationDetector"] = {"queueDepthThreshold": draw(st.integers(-1, 9))}
    return value


@given(configurations(), st.booleans())
def test_any_explained_configuration_means_the_same(value: dict[str, Any], comments: bool) -> None:
    config = load(OLD + dump(value))
    again = load(explain(config, comments=comments))
    assert meaning(again) == meaning(config)


def test_comments_say_where_values_come_from() -> None:
    lines = {
        line.split("#")[0].strip(): line.partition("# ")[2]
        for line in explain(load(NEW + FULL)).splitlines()
    }
    assert lines["apiVersion: llm-d.ai/v1alpha1"] == "f:1"
    assert lines["name: q"] == "f:4"
    assert lines["blockSize: 5"] == "f:5"
    assert lines["maxPrefixBlocksToMatch: 256"] == ""
    assert lines["watchFile: true"] == "f:7"
    assert lines["headroom: 0.0"] == "default"
    assert lines["weight: 2.5"] == "f:10"
    assert lines['- name: "a b"'] == "f:10"
    assert lines["- type: byte-prefix-cache-producer"] == (
        "added: the index of prefix-cache-scorer, in bytes as in the 2025 release"
    )
    assert lines["- type: single-profile-handler"] == "added: no handler is declared"
    assert lines["- pluginRef: max-score-picker"] == "added: the profile has no picker"
    assert lines["injectDefaults: false"] == "f:15"


class Nested(msgspec.Struct, frozen=True, rename="camel"):
    some_value: float = float("inf")
    unset: int | None = None


class OddParams(Params, frozen=True):
    many: Mapping[str, float]
    nested: Nested = Nested()
    listed: tuple[Nested, ...] = (Nested(1.0),)
    pause: PositiveDuration = msgspec.field(default_factory=lambda: PositiveDuration(0.0015))
    text: str = "on"


class Odd(Picker):
    def __init__(self, params: OddParams, handle: Handle) -> None:
        pass

    def pick(self, endpoints: Any, totals: Any) -> list[Endpoint]:
        return list(endpoints)


def test_parameters_are_written_as_in_a_file_but_for_what_is_unset() -> None:
    assert parameters(OddParams({"a": 1.0})) == {
        "many": {"a": 1.0},
        "nested": {"someValue": float("inf")},
        "listed": [{"someValue": 1.0}],
        "pause": "1.5ms",
        "text": "on",
    }


@given(st.dictionaries(NAMES, st.floats(allow_nan=False), max_size=3))
def test_parameters_of_any_shape_are_read_back(many: dict[str, float]) -> None:
    own = own_type("odd", Odd, OddParams, Odd)
    config = load(dump({"plugins": [{"type": "odd", "parameters": {"many": many}}]}), own)
    assert meaning(load(explain(config), own)) == meaning(config)
