from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from epp.config.findings import Severity
from epp.config.hazards import RULES, hazards
from epp.config.load import DEFAULT_CONFIG, load_config
from epp.core.endpoint import Endpoint
from epp.core.plugin import REGISTRY, NoParams, PluginType, Scorer, Stability
from epp.core.request import InferenceRequest
from tests.config.told import NEW, OLD, load
from tests.fakes import make_handle

Q = "plugins: [{type: queue-scorer}, {type: random-picker}]\n"
ONE = "{type: random-picker, parameters: {maxNumOfEndpoints: 2}}"


def in_a(references: str) -> str:
    return f"{Q}schedulingProfiles: [{{name: a, plugins: [{references}]}}]"


def of(rule: str, text: str) -> list[str]:
    """The places where the rule has something to say."""
    return [finding.place for finding in hazards(load(text)) if finding.rule == rule]


FIRST = "schedulingProfiles[0].plugins"
PREFIX = "plugins: [{type: prefix-cache-scorer, parameters: {BLOCKSIZE: 5}}"
HOOKS = "{type: byte-prefix-cache-producer}, {type: byte-prefix-cache-producer, name: b}"


@pytest.mark.parametrize(
    ("rule", "text", "places"),
    [
        (
            "picker-before-scorer",
            in_a("{pluginRef: random-picker}, {pluginRef: queue-scorer}"),
            [f"{FIRST}[1]"],
        ),
        (
            "picker-before-scorer",
            in_a("{pluginRef: random-picker}, {pluginRef: queue-scorer, weight: 1}"),
            [],
        ),
        ("picker-before-scorer", in_a("{pluginRef: queue-scorer}, {pluginRef: random-picker}"), []),
        ("other-generation", OLD + "flowControl: {}\nrequestHandler: {}", None),
        ("other-generation", NEW + "flowControl: {}", []),
        ("saturation-shape", NEW + "saturationDetector: {}", ["saturationDetector"]),
        ("saturation-shape", OLD + "saturationDetector: {}", []),
        (
            "saturation-shape",
            OLD + "saturationDetector: {pluginRef: utilization-detector}",
            ["saturationDetector.pluginRef"],
        ),
        ("prefix-in-bytes", NEW + PREFIX + "]", ["plugins[0].parameters.BLOCKSIZE"]),
        ("prefix-in-bytes", OLD + PREFIX + "]", []),
        ("block-size-unit", OLD + PREFIX + "]", ["plugins[0].parameters.BLOCKSIZE"]),
        ("block-size-unit", "plugins: [{type: prefix-cache-scorer}]", []),
        ("partial-block", PREFIX + ", {type: approx-prefix-cache-producer}]", ["plugins[1]"]),
        ("partial-block", PREFIX + "]", []),
        ("removed-gate", "featureGates: [flowControl, dataLayer]", ["featureGates[1]"]),
        ("removed-gate", "featureGates: [flowControl]", []),
        (
            "fractional-weight",
            in_a("{pluginRef: queue-scorer, weight: 0.5}"),
            [f"{FIRST}[0].weight"],
        ),
        ("fractional-weight", in_a("{pluginRef: queue-scorer, weight: 2.0}"), []),
        ("fractional-weight", NEW + in_a("{pluginRef: queue-scorer, weight: 0.5}"), []),
        ("useless-weight", in_a("{pluginRef: queue-scorer, weight: 0}"), [f"{FIRST}[0].weight"]),
        ("useless-weight", in_a("{pluginRef: queue-scorer, weight: -3}"), [f"{FIRST}[0].weight"]),
        ("useless-weight", in_a("{pluginRef: random-picker, weight: 0}"), []),
        ("declaration-order", f"plugins: [{HOOKS}]", ["plugins[1]"]),
        (
            "declaration-order",
            "plugins: [{type: decode-filter}, {type: prefill-filter}]",
            ["plugins[1]"],
        ),
        ("declaration-order", Q, []),
        (
            "short-staleness",
            "saturationDetector: {metricsStalenessThreshold: 150ms}",
            ["saturationDetector.metricsStalenessThreshold"],
        ),
        ("short-staleness", "saturationDetector: {metricsStalenessThreshold: 200ms}", []),
        ("short-staleness", "saturationDetector: {metricsStalenessThreshold: -5s}", []),
        ("several-endpoints", f"plugins: [{ONE}]", ["plugins[0].parameters.maxNumOfEndpoints"]),
        ("several-endpoints", "plugins: [{type: random-picker}]", []),
        ("prefix-gaps", "plugins: [{type: prefix-cache-scorer}]", ["plugins[0]"]),
        ("prefix-gaps", NEW + "plugins: [{type: prefix-cache-scorer}]", []),
        ("chat-hashing", "plugins: [{type: prefix-cache-scorer}]", ["plugins[0]"]),
        ("shed-status", "plugins: [{type: latency-slo-admitter}]", ["plugins[0]"]),
        ("shed-status", Q, []),
        (
            "parameter-case",
            "plugins: [{type: random-picker, parameters: {maxnumofendpoints: 1}}]",
            ["plugins[0].parameters.maxnumofendpoints"],
        ),
        ("parameter-case", f"plugins: [{ONE}]", []),
        ("parameter-case", "plugins: [{type: random-picker, parameters: {other: 1}}]", []),
    ],
)
def test_a_rule_says_where(rule: str, text: str, places: list[str] | None) -> None:
    assert of(rule, text) == (["flowControl", "requestHandler"] if places is None else places)


class Mine(Scorer):
    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [0.0 for _ in endpoints]


@pytest.mark.parametrize(("origin", "found"), [("/p/mine.py", ["plugins[0]"]), ("", [])])
@pytest.mark.parametrize("rule", ["clamped-scores", "failing-plugin"])
def test_plugins_of_ones_own_are_watched(rule: str, origin: str, found: list[str]) -> None:
    mine = PluginType("mine", NoParams, Stability.BETA, lambda _p, _h: Mine(), Mine, origin=origin)
    config = load_config(
        "plugins: [{type: mine}]", "c", make_handle(), catalogue={**REGISTRY, "mine": mine}
    )
    assert [f.place for f in hazards(config) if f.rule == rule] == found


def test_the_default_has_no_warning_and_findings_come_in_the_order_of_the_file() -> None:
    assert [f for f in hazards(load(DEFAULT_CONFIG)) if f.severity is Severity.WARNING] == []
    text = f"featureGates: [dataLayer]\nplugins:\n- {ONE}\nsaturationDetector: {{pluginRef: d}}\n"
    text += "flowControl: {saturationDetector: {pluginRef: utilization-detector}}"
    lines = [finding.line for finding in hazards(load(text))]
    assert lines == sorted(lines)
    assert len(lines) > 2


def test_a_profile_that_names_others_is_no_trouble() -> None:
    text = "plugins: [{type: openai-parser}]\nschedulingProfiles: [{name: a, plugins: ["
    config = load(text + "{pluginRef: openai-parser, weight: 0}]}]")
    assert [f.rule for f in hazards(config)] == []
    assert all(list(look(config)) == [] for look in RULES.values())
    assert msgspec.json.encode(hazards(config)) == b"[]"
