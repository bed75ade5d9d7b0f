from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from epp.config.hazards import RULES, hazards
from epp.core.data import LATENCY_PREDICTIONS, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Picker, Plugin, PluginType, Scorer
from epp.core.request import InferenceRequest
from tests.config.loading import NEW, OLD, load, own_type


class OwnScorer(Scorer):
    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [0.0] * len(endpoints)


class TextParams(Params, frozen=True):
    max_num_of_endpoints: str = "many"


class OwnPredictor(Plugin):
    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return (LATENCY_PREDICTIONS.of(self.name),)


class OwnPicker(Picker):
    def __init__(self, params: TextParams, handle: Handle) -> None:
        pass

    def pick(self, endpoints: Any, totals: Any) -> list[Endpoint]:
        return list(endpoints)


OWN: dict[str, PluginType] = {
    **own_type("own-scorer", OwnScorer),
    **own_type("own-predictor", OwnPredictor),
    **own_type("own-picker", OwnPicker, TextParams, OwnPicker),
}
QP = "plugins: [{type: queue-scorer}, {type: random-picker}]\n"
PREFIX = "plugins: [{type: prefix-cache-scorer"
APPROX = "{type: approx-prefix-cache-producer}"
SHORT = "saturationDetector: {metricsStalenessThreshold: 150ms}"
ADMITTER = "plugins: [{type: latency-slo-admitter}]"
STICKY = "{type: prefix-cache-affinity-filter"
PREDICTS = "ttftSource: latencyPredictor"
OWN_PREDICTOR = "{type: own-predictor, name: mine}"
NAMED = "{type: latency-slo-admitter, parameters: {latencyPredictionInfoProducerName: mine}}"
HOOKS = (
    "plugins: [{type: byte-prefix-cache-producer, name: a}, "
    "{type: byte-prefix-cache-producer, name: b}]"
)


def in_profile(*uses: str) -> str:
    return f"schedulingProfiles: [{{name: a, plugins: [{', '.join(uses)}]}}]\n"


Q, P = "{pluginRef: queue-scorer", "{pluginRef: random-picker}"

CASES: list[tuple[str, str, str | None]] = [
    ("picker-before-scorer", OLD + QP + in_profile(P, Q + "}"), "schedulingProfiles[0].plugins[1]"),
    ("picker-before-scorer", OLD + QP + in_profile(Q + "}", P), None),
    ("picker-before-scorer", OLD + QP + in_profile(P, Q + ", weight: 1}"), None),
    ("other-generation", OLD + "flowControl: {}", "flowControl"),
    ("other-generation", "dataLayer: {}", "dataLayer"),
    ("other-generation", OLD + "requestHandler: {}", "requestHandler"),
    ("other-generation", NEW + "requestHandler: {}", None),
    (
        "saturation-shape",
        NEW + "saturationDetector: {queueDepthThreshold: 1}",
        "saturationDetector",
    ),
    (
        "saturation-shape",
        OLD + "saturationDetector: {pluginRef: utilization-detector}",
        "saturationDetector.pluginRef",
    ),
    ("saturation-shape", OLD + "saturationDetector: {queueDepthThreshold: 1}", None),
    ("saturation-shape", NEW + "saturationDetector: {pluginRef: utilization-detector}", None),
    (
        "prefix-in-bytes",
        NEW + PREFIX + ", parameters: {BlockSize: 5}}]",
        "plugins[0].parameters.BlockSize",
    ),
    ("prefix-in-bytes", OLD + PREFIX + ", parameters: {blockSize: 5}}]", None),
    (
        "block-size-unit",
        OLD + PREFIX + ", parameters: {blockSize: 5}}]",
        "plugins[0].parameters.blockSize",
    ),
    ("block-size-unit", OLD + PREFIX + ", parameters: {lruCapacityPerServer: 5}}]", None),
    (
        "partial-block",
        OLD + PREFIX + f", parameters: {{blockSize: 5}}}}, {APPROX}]",
        "plugins[1]",
    ),
    ("partial-block", OLD + PREFIX + f"}}, {APPROX}]", None),
    ("removed-gate", OLD + "featureGates: [flowControl, dataLayer=true]", "featureGates[1]"),
    ("removed-gate", OLD + "featureGates: [flowControl]", None),
    (
        "fractional-weight",
        OLD + QP + in_profile(Q + ", weight: 0.5}"),
        "schedulingProfiles[0].plugins[0].weight",
    ),
    ("fractional-weight", OLD + QP + in_profile(Q + ", weight: 2.0}"), None),
    ("fractional-weight", NEW + QP + in_profile(Q + ", weight: 0.5}"), None),
    (
        "useless-weight",
        NEW + QP + in_profile(Q + ", weight: 0}"),
        "schedulingProfiles[0].plugins[0].weight",
    ),
    (
        "useless-weight",
        NEW + QP + in_profile(Q + ", weight: -3}"),
        "schedulingProfiles[0].plugins[0].weight",
    ),
    ("useless-weight", NEW + QP + in_profile("{pluginRef: random-picker, weight: 0}"), None),
    ("declaration-order", OLD + HOOKS, "plugins[1]"),
    (
        "declaration-order",
        OLD + "plugins: [{type: decode-filter}, {type: prefill-filter}]",
        "plugins[1]",
    ),
    (
        "declaration-order",
        OLD + "plugins: [{type: decode-filter}, {type: prefill-filter}]\n" + in_profile(),
        None,
    ),
    ("declaration-order", OLD + PREFIX + "}]", None),
    ("short-staleness", OLD + SHORT, "saturationDetector.metricsStalenessThreshold"),
    ("short-staleness", OLD + SHORT.replace("150", "200"), None),
    ("short-staleness", OLD + SHORT.replace("150ms", "-5s"), None),
    ("clamped-scores", "plugins: [{type: queue-scorer}, {type: own-scorer}]", "plugins[1]"),
    ("clamped-scores", "plugins: [{type: queue-scorer}, {type: own-picker}]", None),
    ("failing-plugin", "plugins: [{type: own-picker}]", "plugins[0]"),
    ("failing-plugin", QP, None),
    (
        "several-endpoints",
        "plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: 2}}]",
        "plugins[0].parameters.maxNumOfEndpoints",
    ),
    ("several-endpoints", "plugins: [{type: max-score-picker}]", None),
    ("several-endpoints", "plugins: [{type: own-picker}]", None),
    ("prefix-gaps", OLD + PREFIX + "}]", "plugins[0]"),
    ("prefix-gaps", NEW + PREFIX + "}]", None),
    ("chat-hashing", OLD + PREFIX + "}]", "plugins[0]"),
    ("chat-hashing", NEW + PREFIX + "}]", None),
    ("shed-status", NEW + ADMITTER, "plugins[0]"),
    ("shed-status", NEW + QP, None),
    ("no-predictions", NEW + ADMITTER, "plugins[0]"),
    ("no-predictions", "plugins: [{type: slo-headroom-tier-filter}]", "plugins[0]"),
    ("no-predictions", f"plugins: [{STICKY}}}]", None),
    ("no-predictions", f"plugins: [{STICKY}, parameters: {{{PREDICTS}}}}}]", "plugins[0]"),
    (
        "no-predictions",
        f"plugins: [{STICKY}, parameters: {{{PREDICTS}, maxTTFTPenaltyMs: 0}}}}]",
        None,
    ),
    ("no-predictions", f"plugins: [{OWN_PREDICTOR}, {{type: latency-slo-admitter}}]", "plugins[1]"),
    ("no-predictions", f"plugins: [{OWN_PREDICTOR}, {NAMED}]", None),
    (
        "parameter-case",
        NEW + "plugins: [{type: random-picker, parameters: {MAXNUMOFENDPOINTS: 2}}]",
        "plugins[0].parameters.MAXNUMOFENDPOINTS",
    ),
    (
        "parameter-case",
        OLD + PREFIX + ", parameters: {blocksize: 5}}]",
        "plugins[0].parameters.blocksize",
    ),
    (
        "parameter-case",
        OLD + "plugins: [{type: random-picker, parameters: {maxNumOfEndpoints: 2, nope: 1}}]",
        None,
    ),
]


@pytest.mark.parametrize(("rule", "text", "place"), CASES)
def test_a_rule_speaks_where_it_should_and_nowhere_else(
    rule: str, text: str, place: str | None
) -> None:
    found = [f for f in hazards(load(text, OWN, allow_experimental=True)) if f.rule == rule]
    assert [finding.place for finding in found] == ([] if place is None else [place])
    assert all(finding.severity != "error" for finding in found)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_case_in_which_it_speaks_and_one_in_which_it_does_not(rule: str) -> None:
    assert {place is None for name, _, place in CASES if name == rule} == {True, False}


def test_hazards_are_in_the_order_of_the_file() -> None:
    found = hazards(load(OLD + SHORT + "\nfeatureGates: [dataLayer]\n" + HOOKS))
    lines = [finding.line for finding in found]
    assert lines == sorted(lines)
    assert len(set(lines)) == 3
