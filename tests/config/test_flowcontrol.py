from __future__ import annotations

import pytest

from epp.config.findings import Severity
from tests.config.told import checked, refusals, told

OFF = "has no effect: the feature gate flowControl is off"


@pytest.mark.parametrize(
    ("section", "refusal"),
    [
        ("maxBytes: 4Gi", None),
        ("maxBytes: 500", None),
        ("maxBytes: 0.5e3", None),
        ("maxBytes: -1", "maxBytes: must be non-negative, got -1"),
        ("maxBytes: '-1Gi'", "maxBytes: must be non-negative, got -1Gi"),
        ("maxBytes: much", "maxBytes: expected a quantity such as 500 or 1Gi"),
        ("maxRequests: 1gi", "maxRequests: expected a quantity such as 500 or 1Gi"),
        ("maxRequests: 1.5", "maxRequests: Expected `int | str | null`, got `float`"),
        ("defaultRequestTTL: 0s", None),
        ("defaultRequestTTL: soon", "defaultRequestTTL: expected a duration of 0s or more such as"),
        ("noEndpointRequestTTL: -1s", "noEndpointRequestTTL: expected a duration of 0s or more"),
        ("priorityBands: [{priority: 1}, {priority: 2}]", None),
        ("priorityBands: [{}]", "priorityBands[0]: `priority` is required"),
        (
            "priorityBands: [{priority: 1}, {priority: 1}]",
            "priorityBands[1].priority: priority 1 has two bands",
        ),
        (
            "priorityBands: [{priority: 1, maxRequests: -2}]",
            "priorityBands[0].maxRequests: must be non-negative, got -2",
        ),
        ("defaultPriorityBand: {maxBytes: 1G}", None),
        (
            "defaultNegativePriorityBand: {maxBytes: x}",
            "defaultNegativePriorityBand.maxBytes: expected a quantity such as 500 or 1Gi",
        ),
        ("enableEviction: 1", "enableEviction: Expected `bool | null`, got `int`"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(section: str, refusal: str | None) -> None:
    found = refusals(f"flowControl: {{{section}}}")
    assert len(found) == (refusal is not None)
    assert all(problem.startswith(f"c.yaml:1: flowControl.{refusal}") for problem in found)


def test_every_wrong_value_is_told() -> None:
    text = "flowControl: {maxBytes: true, priorityBands: [{priority: x}, {priority: y}], foo: 1}"
    assert len(refusals(text)) == 4


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ("", OFF),
        ("featureGates: [flowControl=false]\n", OFF),
        ("featureGates: [flowControl]\n", "has no effect: this version has no flow control"),
    ],
)
def test_what_is_right_has_no_effect_and_the_reason_is_told(gate: str, why: str) -> None:
    found = checked(f"{gate}flowControl: {{maxBytes: 1, enableEviction: true}}")
    notes = [f"{f.place}: {f.text}" for f in found if f.place.startswith("flowControl.")]
    assert notes == [f"flowControl.maxBytes: {why}", f"flowControl.enableEviction: {why}"]


def test_the_detector_it_names_does_have_an_effect() -> None:
    text = (
        "apiVersion: llm-d.ai/v1alpha1\n"
        "flowControl: {saturationDetector: {pluginRef: utilization-detector}}"
    )
    assert told(checked(text), Severity.ERROR, Severity.NOTE) == []


def test_as_many_bands_as_a_file_holds_are_read() -> None:
    bands = ",".join(f"{{priority: {i}}}" for i in range(20_000))
    assert refusals(f"flowControl: {{priorityBands: [{bands}]}}") == []
