from __future__ import annotations

import pytest

from epp.config.document import read_document
from epp.config.findings import Findings
from epp.config.schema import KIND, NEW_GROUP, OLD_GROUP
from epp.config.shape import FEATURE_GATES, Shape, read_gates, read_shape
from tests.config.told import checked, errors, refusals, rules, told


def read(text: str) -> tuple[Shape, list[str]]:
    document = read_document(text, "c.yaml")
    findings = Findings(document.places)
    shape = read_shape(document, findings)
    return shape, told(findings.all)


def test_a_wrong_entry_is_left_out_and_known_by_name() -> None:
    shape, found = read(
        "plugins: [{type: a}, {type: 1, name: b}, {type: c, x: 1}, 7]\n"
        "schedulingProfiles: [{name: p}, {name: 1}]"
    )
    assert [p and p.type for p in shape.config.plugins or ()] == ["a", None, None, None]
    assert shape.refused == {"b", "c", ""}
    assert [p and p.name for p in shape.config.scheduling_profiles or ()] == ["p", None]
    assert len(found) == 4


def test_every_problem_of_a_section_is_told() -> None:
    _, found = read(
        "schedulingProfiles: [{nam: p, plugins: [{pluginRef: 1, wait: 2}, {weight: x}]}]\n"
        "dataLayer: {sources: [{}, {pluginRef: 3}], foo: 1}\n"
    )
    assert [problem.split(": ")[1] for problem in found] == [
        "schedulingProfiles[0].nam",
        "schedulingProfiles[0].plugins[0].pluginRef",
        "schedulingProfiles[0].plugins[0].wait",
        "schedulingProfiles[0].plugins[1].weight",
        "dataLayer.sources[0]",
        "dataLayer.sources[1].pluginRef",
        "dataLayer.foo",
    ]


@pytest.mark.parametrize("text", ["plugins: x", "plugins: {type: x}", "[1]", "hello"])
def test_without_a_list_of_plugins_no_reference_is_wrong(text: str) -> None:
    if text.startswith("plugins"):
        text += "\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}, {name: b}]"
    assert len(refusals(text)) == 1


def test_profiles_that_cannot_be_read_are_not_none() -> None:
    text = "schedulingProfiles: x\nplugins: [{type: random-picker}, {type: max-score-picker}]"
    assert refusals(text) == ["c.yaml:1: schedulingProfiles: Expected `array | null`, got `str`"]


@pytest.mark.parametrize(
    ("head", "path"),
    [
        ("", None),
        (f"kind: {KIND}", None),
        (f"apiVersion: {OLD_GROUP}", None),
        (f"apiVersion: {NEW_GROUP}\nkind: {KIND}", None),
        ("kind: Pod\nspec: {}", "kind"),
        ("apiVersion: v1\nkind: ConfigMap", "kind"),
        ("kind: [x]", "kind"),
        (f"apiVersion: v1\nkind: {KIND}", "apiVersion"),
        ("apiVersion: llm-d.ai/v2", "apiVersion"),
    ],
)
def test_another_kind_is_refused_once(head: str, path: str | None) -> None:
    found = [f for f in checked(f"{head}\nplugins: []") if f.severity == "error"]
    assert [(f.place, f.rule) for f in found] == ([(path, "wrong-kind")] if path else [])


@pytest.mark.parametrize(
    ("gate", "is_open"),
    [
        ("flowControl", True),
        ("flowControl=true", True),
        ("flowControl= T ", True),
        ("flowControl=1", True),
        ("flowControl=FALSE", False),
        ("flowControl=0", False),
        ("flowControl=", True),
    ],
)
def test_a_gate_is_open_or_shut(gate: str, is_open: bool) -> None:
    findings = Findings(read_document("", "c.yaml").places)
    assert read_gates([gate], findings) == {**FEATURE_GATES, "flowControl": is_open}
    assert errors(findings.all) == []


@pytest.mark.parametrize("gate", ["flowcontrol", " flowControl", "flowControl=maybe", "foo", ""])
def test_a_gate_that_nobody_knows_is_refused(gate: str) -> None:
    findings = Findings(read_document("", "c.yaml").places)
    assert read_gates([gate], findings) == FEATURE_GATES
    assert len(errors(findings.all)) == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty-configuration"),
        ("null", "empty-configuration"),
        ("plugins: []\n---\na: 1", "more-documents"),
    ],
)
def test_what_is_hardly_meant_is_told(text: str, rule: str) -> None:
    assert rules(text) == [rule]
