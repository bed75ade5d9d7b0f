from __future__ import annotations

import pytest

from epp.config.findings import Severity
from tests.config.loading import NEW, load, refusals
from tests.config.told import told

GATE = "featureGates: [flowControl]\n"


def band(text: str) -> str:
    return f"flowControl: {{priorityBands: [{text}]}}"


@pytest.mark.parametrize(
    "values",
    [
        *["maxBytes: 0", "maxBytes: 5", "maxBytes: 1Gi", "maxBytes: 1.5k", "maxBytes: '1e3'"],
        *["maxRequests: '.5M'", "maxRequests: +3", "maxBytes: null", "defaultRequestTTL: 0s"],
        *["defaultRequestTTL: 1m30s", "noEndpointRequestTTL: 60s", "enableEviction: true"],
        *["defaultPriorityBand: {maxBytes: 1Gi, fairnessPolicyRef: x}", "priorityBands: []"],
        *["defaultNegativePriorityBand: {}", "priorityBands: [{priority: -1}, {priority: 0}]"],
    ],
)
def test_what_may_be_said_is_accepted_and_has_no_effect(values: str) -> None:
    key = values.partition(":")[0]
    expected = [] if "null" in values else [f"f:3: flowControl.{key}: has no effect: "]
    for head, why in (
        (NEW, "the feature gate flowControl is off"),
        (NEW.replace("\n", " \n", 1) + GATE, "this version has no flow control"),
    ):
        loaded = load(f"{head}flowControl: {{{values}}}")
        notes = [n for n in told(loaded.findings, Severity.NOTE) if "flowControl." in n]
        assert [note.replace("f:4:", "f:3:") for note in notes] == [e + why for e in expected]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("flowControl: {maxBytes: -1}", "flowControl.maxBytes: must be non-negative, got -1"),
        ("flowControl: {maxBytes: -1Gi}", "flowControl.maxBytes: must be non-negative, got -1Gi"),
        ("flowControl: {maxRequests: x}", "flowControl.maxRequests: expected a quantity such as"),
        ("flowControl: {maxRequests: ''}", "flowControl.maxRequests: expected a quantity such as"),
        ("flowControl: {maxRequests: 1GB}", "flowControl.maxRequests: expected a quantity such as"),
        ("flowControl: {maxRequests: ٣}", "flowControl.maxRequests: expected a quantity such as"),
        ("flowControl: {maxBytes: true}", "flowControl.maxBytes: Expected `int | str | null`"),
        (
            "flowControl: {defaultRequestTTL: -1s}",
            "flowControl.defaultRequestTTL: expected a duration of 0s or more such as 60s",
        ),
        (
            "flowControl: {noEndpointRequestTTL: soon}",
            "flowControl.noEndpointRequestTTL: expected a duration of 0s or more such as 60s",
        ),
        (band("{}"), "flowControl.priorityBands[0]: `priority` is required"),
        (
            band("{priority: 1}, {priority: 2}, {priority: 1}"),
            "flowControl.priorityBands[2].priority: priority 1 has two bands",
        ),
        (
            band("{priority: 1, maxBytes: -1}"),
            "flowControl.priorityBands[0].maxBytes: must be non-negative, got -1",
        ),
        (
            "flowControl: {defaultPriorityBand: {maxRequests: -2}}",
            "flowControl.defaultPriorityBand.maxRequests: must be non-negative, got -2",
        ),
        (
            "flowControl: {defaultNegativePriorityBand: {maxRequests: -2}}",
            "flowControl.defaultNegativePriorityBand.maxRequests: must be non-negative, got -2",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    (found,) = refusals(NEW + text)
    assert found.startswith(f"f:3: {problem}")
