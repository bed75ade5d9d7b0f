from __future__ import annotations

import pytest

from epp.config.document import read_document
from epp.config.findings import ConfigError, Findings
from epp.config.schema import ConfigSection, PluginSection
from epp.config.shape import FEATURE_GATES, check_kind, read_gates, read_shape
from tests.config.loading import refusals
from tests.config.told import told


def shape(text: str) -> tuple[ConfigSection, dict[str, str], list[str]]:
    document = read_document(text, "f")
    findings = Findings(document.places)
    return (*read_shape(document, findings), told(findings.all))


def test_a_wrong_entry_is_left_out_and_its_name_is_kept() -> None:
    config, refused, found = shape(
        "plugins:\n- {type: a}\n- {type: b, nme: x}\n- {type: c, name: d, foo: 1}\n- 7\n- {name: 1}"
    )
    assert config.plugins == [PluginSection("a"), None, None, None, None]
    assert refused == {"b": "b", "d": "c", "1": "None"}
    assert [line.split(" ")[1] for line in found] == [
        *("plugins[1].nme:", "plugins[2].foo:", "plugins[3]:", "plugins[4].name:")
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nplugin: []", ['f:1: a: unknown field "a"', "f:2: plugin: unknown field"]),
        ("plugin: []", ["f:1: plugin: unknown field \"plugin\"; did you mean 'plugins'?"]),
        ("[1]", ["f:1: expected a mapping at the top level"]),
        ("", ["f:1: nothing is configured: any endpoint is picked"]),
        ("{}", ["f:1: nothing is configured: any endpoint is picked"]),
        ("plugins: []\n---\n", []),
        ("plugins: []\n---\na: 1", ["f:1: only the first document is read"]),
        ("featureGates: a\nplugins: 1", ["f:1: featureGates: Exp", "f:2: plugins: Expected"]),
    ],
)
def test_what_is_wrong_at_the_top_is_told(text: str, found: list[str]) -> None:
    _, _, lines = shape(text)
    if text.endswith("---\n"):
        lines = [line for line in lines if "first document" not in line]
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))


OLD_VERSION, NEW_VERSION = "inference.networking.x-k8s.io/v1alpha1", "llm-d.ai/v1alpha1"


@pytest.mark.parametrize(
    ("version", "kind", "place"),
    [
        (None, None, None),
        (OLD_VERSION, "EndpointPickerConfig", None),
        (NEW_VERSION, "EndpointPickerConfig", None),
        (NEW_VERSION, None, None),
        (None, "EndpointPickerConfig", None),
        ("v1", "EndpointPickerConfig", "apiVersion"),
        ("inference.networking.x-k8s.io/v1alpha2", None, "apiVersion"),
        ("", "", None),
    ],
)
def test_both_groups_and_one_kind_are_known(
    version: str | None, kind: str | None, place: str | None
) -> None:
    findings = Findings(read_document("", "f").places)
    check_kind(ConfigSection(api_version=version, kind=kind), findings)
    assert [finding.place for finding in findings.all] == ([] if place is None else [place])


@pytest.mark.parametrize("text", ["kind: Pod", "kind: Pod\nspec: {}\nmetadata: {name: x}"])
def test_of_another_kind_nothing_else_is_told(text: str) -> None:
    document = read_document(text, "f")
    with pytest.raises(ConfigError) as raised:
        read_shape(document, Findings(document.places))
    assert [(finding.place, finding.rule) for finding in raised.value.findings] == [
        ("kind", "wrong-kind")
    ]


@pytest.mark.parametrize(
    ("gates", "changed", "problems"),
    [
        ([], {}, []),
        (["flowControl"], {"flowControl": True}, []),
        (["flowControl= TRUE "], {"flowControl": True}, []),
        (["flowControl=t", "flowControl=0"], {}, []),
        (["haPopulateNonLeaderDatastore=F"], {"haPopulateNonLeaderDatastore": False}, []),
        (["dataLayer", "dataLayer"], {"dataLayer": True}, []),
        (["foo"], {}, ["foo is an unregistered Feature Gate; there are dataLayer, flowControl, "]),
        (["flowcontrol"], {}, ["flowcontrol is an unregistered Feature Gate; did you mean 'flowC"]),
        ([" flowControl"], {}, [" flowControl is an unregistered Feature Gate".strip()]),
        (["flowControl="], {}, ["is not a valid value for the feature gate flowControl"]),
        (["flowControl=yes"], {}, ["yes is not a valid value for the feature gate flowControl"]),
    ],
)
def test_gates_are_opened_and_closed(
    gates: list[str], changed: dict[str, bool], problems: list[str]
) -> None:
    findings = Findings(read_document("", "f").places)
    assert read_gates(gates, findings) == FEATURE_GATES | changed
    wrong = [finding.text for finding in findings.all if finding.severity == "error"]
    assert len(wrong) == len(problems)
    assert all(text.startswith(start) for text, start in zip(wrong, problems, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "plugins: x\nschedulingProfiles: [{name: a, plugins: [{pluginRef: q}]}, {name: b}]",
        "plugins: {type: x}\nrequestHandler: {parsers: [{pluginRef: q}]}",
        "schedulingProfiles: x\nplugins: [{type: random-picker}, {type: max-score-picker}]",
    ],
)
def test_of_a_list_that_cannot_be_read_nothing_more_is_told(text: str) -> None:
    (found,) = refusals(text)
    assert ": Expected `array | null`, got " in found
