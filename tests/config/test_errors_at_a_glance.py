"""What each of the two upstream releases makes of a text, row by row, and what is made of it here.

A row has the text and the outcome under the older and the newer group. ``ok`` alone means that it
loads; what else it means is in the other tests. Rows marked ``Differs`` are meant.
"""

from __future__ import annotations

from random import Random

import pytest

from epp.config.findings import ConfigError
from epp.config.load import DEFAULT_CONFIG, load_config
from epp.config.older import BYTE_PRODUCER
from epp.core.plugin import Handle
from epp.core.probe import Probe
from epp.core.request import ChatMessage, RequestBody
from epp.prefixcache.text import prefix_bytes
from epp.saturation import AnyRoomDetector, Thresholds
from tests.config.told import NEW, OLD, load, refusals
from tests.fakes import FakeClock

Q = "plugins: [{type: queue-scorer}]\n"
QR = "plugins: [{type: queue-scorer}, {type: random-picker}]\n"
SINGLE = "{type: single-profile-handler}"
TWO = "schedulingProfiles: [{name: a}, {name: b}]\n"


def in_a(references: str) -> str:
    return f"schedulingProfiles: [{{name: a, plugins: [{references}]}}]\n"


def outcome(text: str) -> str:
    """The profiles, or the only refusal without its place."""
    try:
        profiles = load(text).scheduler.profiles
    except ConfigError:
        (found,) = refusals(text)
        return found.partition(": ")[2]
    return "; ".join(
        f"{name} = "
        + ", ".join(
            [f"{s.scorer.name} {s.weight:g}" for s in profile.scorers] + [profile.picker.name]
        )
        for name, profile in profiles.items()
    )


def refused(text: str, old: str, new: str | None = None) -> tuple[str, str, str]:
    """A row of two refusals, by their beginnings."""
    return text, old, old if new is None else new


def accepted(text: str, profiles: str) -> tuple[str, str, str]:
    """A row of a text that loads in both groups."""
    return text, profiles, profiles


P0, A0 = "plugins[0]", "schedulingProfiles[0]"
ROWS: dict[str, tuple[str, str, str]] = {
    "malformed YAML": refused("plugins: ]", "no YAML: "),
    # Differs: the newer release takes its built-in default for zero bytes. Who gives a file that
    # is empty gets what the older release makes of it, with a warning.
    "empty document": accepted("", "default = max-score-picker"),
    "only a scorer": accepted(Q, "default = queue-scorer 1, max-score-picker"),
    # Differs: the older release works most of the time.
    "scorer and picker": accepted(QR, "default = queue-scorer 1, random-picker"),
    # Differs: the older release always crashes.
    "picker before an unweighted scorer": accepted(
        QR + in_a("{pluginRef: random-picker}, {pluginRef: queue-scorer}"),
        "a = queue-scorer 1, random-picker",
    ),
    "unknown type": refused("plugins: [{type: nope}]", f"{P0}.type: plugin type 'nope' is not"),
    "no type": refused(
        "plugins: [{name: x}]", f"{P0}: plugin definition for 'x' is missing a type"
    ),
    "neither type nor name": refused(
        "plugins: [{}]", f"{P0}: plugin definition for '' is missing a type"
    ),
    "duplicate name": refused(
        "plugins: [{type: queue-scorer}, {type: queue-scorer}]",
        "plugins[1]: plugin name 'queue-scorer' used more than once",
    ),
    "unknown reference": refused(
        Q + in_a("{pluginRef: zz}"), f"{A0}.plugins[0]: zz is a reference to an undefined Plugin"
    ),
    "empty reference": refused(
        Q + in_a("{pluginRef: ''}"),
        f"{A0}.plugins[0]: SchedulingProfile 'a' plugins must have a plugin reference",
    ),
    "profile without name": refused(
        Q + "schedulingProfiles: [{plugins: []}]", f"{A0}: SchedulingProfile must have a name"
    ),
    "duplicate profile": refused(
        "plugins: [{type: disagg-profile-handler}]\nschedulingProfiles: [{name: a}, {name: a}]",
        "schedulingProfiles[1]: the name 'a' has been specified for more than one",
    ),
    "two profiles, no handler": refused(
        Q + TWO, "schedulingProfiles: no profile handler was specified"
    ),
    "two profiles, handler of one": refused(
        f"plugins: [{SINGLE}]\n{TWO}",
        "schedulingProfiles: single profile handler is intended to be used with a single profile",
    ),
    "two handlers": refused(
        f"plugins: [{SINGLE}, {{type: single-profile-handler, name: b}}]",
        "plugins: only one profile handler is allowed. Both single-profile-handler and b are",
    ),
    "profile with a handler and a parser": accepted(
        f"plugins: [{SINGLE}, {{type: openai-parser}}]\n"
        + in_a("{pluginRef: single-profile-handler}, {pluginRef: openai-parser}"),
        "a = max-score-picker",
    ),
    "profile without plugins": accepted(
        Q + "schedulingProfiles: [{name: a}]", "a = max-score-picker"
    ),
    "missing weight": accepted(
        Q + in_a("{pluginRef: queue-scorer}"), "a = queue-scorer 1, max-score-picker"
    ),
    "weight 0": accepted(
        Q + in_a("{pluginRef: queue-scorer, weight: 0}"), "a = queue-scorer 0, max-score-picker"
    ),
    "weight -3": accepted(
        Q + in_a("{pluginRef: queue-scorer, weight: -3}"), "a = queue-scorer -3, max-score-picker"
    ),
    # Differs: the older release refuses it; nobody can rely on a refusal.
    "weight 0.5": accepted(
        Q + in_a("{pluginRef: queue-scorer, weight: 0.5}"),
        "a = queue-scorer 0.5, max-score-picker",
    ),
    "same scorer twice": accepted(
        Q + in_a("{pluginRef: queue-scorer}, {pluginRef: queue-scorer}"),
        "a = queue-scorer 1, queue-scorer 1, max-score-picker",
    ),
    "unknown parameter": (
        "plugins: [{type: random-picker, parameters: {nope: 1}}]",
        "default = random-picker",
        f'{P0}.parameters.nope: unknown field "nope"',
    ),
    "parameter in other case": accepted(
        "plugins: [{type: random-picker, parameters: {MaxNUMOfEndpoints: 1}}]",
        "default = random-picker",
    ),
    "parameter of the wrong type": refused(
        "plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: x}}]",
        f"{P0}.parameters.maxNumOfEndpoints: Expected `int`, got `str`",
    ),
    # Differs: the newer release ignores them mostly; a key that nobody reads is a mistake.
    "parameters of a plugin without": (
        "plugins: [{type: queue-scorer, parameters: {a: 1}}]",
        "default = queue-scorer 1, max-score-picker",
        f'{P0}.parameters.a: unknown field "a"',
    ),
    "unknown gate": refused("featureGates: [foo]", "featureGates[0]: foo is an unregistered"),
    "gate twice": accepted(
        "featureGates: [flowControl, flowControl]", "default = max-score-picker"
    ),
    # Differs: the older release refuses a gate with a value.
    "gate with a value": accepted(
        "featureGates: [flowControl=false]", "default = max-score-picker"
    ),
    # Differs: the newer release refuses it; files of the older one shall load in either group.
    "gate dataLayer": accepted("featureGates: [dataLayer]", "default = max-score-picker"),
    # Differs: the newer release refuses thresholds.
    "odd thresholds": accepted(
        "saturationDetector: {queueDepthThreshold: -1, kvCacheUtilThreshold: 1.5, "
        "metricsStalenessThreshold: -5s}",
        "default = max-score-picker",
    ),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("group", ["older", "newer"])
def test_a_text_comes_to_what_the_release_makes_of_it(row: str, group: str) -> None:
    text, older, newer = ROWS[row]
    head, expected = (OLD, older) if group == "older" else (NEW, newer)
    found = outcome(head + text)
    assert found == expected or (" = " not in expected and found.startswith(expected))


def detector(text: str) -> AnyRoomDetector:
    found = load(text).saturation
    assert isinstance(found, AnyRoomDetector)
    return found


def test_1_without_a_file_the_default_of_the_chart_runs() -> None:
    assert outcome(DEFAULT_CONFIG) == (
        "default = queue-scorer 2, kv-cache-utilization-scorer 2, prefix-cache-scorer 3, "
        "max-score-picker"
    )


def test_2_a_scorer_without_weight_has_1_wherever_it_stands() -> None:
    text = "plugins: [{type: random-picker}, {type: queue-scorer}]"
    assert outcome(text) == "default = queue-scorer 1, random-picker"


@pytest.mark.parametrize("head", ["", OLD, NEW])
def test_3_either_group_is_accepted(head: str) -> None:
    assert outcome(head + Q) == "default = queue-scorer 1, max-score-picker"


@pytest.mark.parametrize("head", [OLD, NEW])
def test_4_a_saturation_detector_has_thresholds_or_a_reference(head: str) -> None:
    given = detector(head + "saturationDetector: {queueDepthThreshold: 7}")
    assert given.thresholds == Thresholds(7)
    odd = detector(head + "saturationDetector: {queueDepthThreshold: -1}")
    assert odd.thresholds == Thresholds()
    named = load(head + "saturationDetector: {pluginRef: utilization-detector}")
    assert named.saturation.type == "utilization-detector"


IN_BYTES = (
    "plugins: [{type: prefix-cache-scorer, "
    "parameters: {blockSize: 5, maxPrefixBlocksToMatch: 6, lruCapacityPerServer: 7}}]"
)


@pytest.mark.parametrize("head", [OLD, NEW])
def test_5_and_6_the_prefix_scorer_takes_its_parameters_in_bytes(head: str) -> None:
    (index,) = [e for e in load(head + IN_BYTES).entries.values() if e.origin.startswith("the in")]
    assert index.declared.name == BYTE_PRODUCER
    assert getattr(index.params, "block_size", None) == 5


def test_7_each_producer_has_its_own_rule_for_the_last_block() -> None:
    text = "plugins: [{type: byte-prefix-cache-producer}, {type: approx-prefix-cache-producer}]"
    types = {producer.type for producer in load(text).producers}
    assert {"byte-prefix-cache-producer", "approx-prefix-cache-producer"} <= types


@pytest.mark.parametrize("head", [OLD, NEW])
def test_8_the_gate_data_layer_is_ignored_with_a_line(head: str) -> None:
    findings = load(head + "featureGates: [dataLayer]").findings
    assert "feature gate dataLayer has no effect in this version" in [f.text for f in findings]


@pytest.mark.parametrize("head", [OLD, NEW])
@pytest.mark.parametrize("weight", ["2", "2.0", "0.5", "null"])
def test_9_any_number_is_a_weight(head: str, weight: str) -> None:
    assert " = " in outcome(head + Q + in_a(f"{{pluginRef: queue-scorer, weight: {weight}}}"))


def test_10_an_unknown_parameter_is_at_least_told() -> None:
    findings = load("plugins: [{type: random-picker, parameters: {x: 1}}]").findings
    assert [f.rule for f in findings] == ["unknown-parameter"]


def test_11_alpha_plugins_need_a_flag() -> None:
    text = "plugins: [{type: session-affinity-scorer}]"
    handle = Handle(Random(1), FakeClock(), Probe())
    with pytest.raises(ConfigError, match="--allow-experimental-plugins is not set"):
        load_config(text, "c.yaml", handle)
    assert load_config(text, "c.yaml", handle, allow_experimental=True)


@pytest.mark.parametrize("head", [OLD, NEW])
def test_19_keys_of_parameters_are_matched_in_any_case_and_no_others(head: str) -> None:
    loaded = load(head + IN_BYTES.replace("blockSize", "Blocksize"))
    assert BYTE_PRODUCER in {entry.declared.name for entry in loaded.entries.values()}
    assert len(refusals(head + "Plugins: []")) == 1


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "true", "12", "0x1f", "1:30", "1.5"])
@pytest.mark.parametrize("key", ["type", "name"])
def test_20_what_yaml_takes_for_no_text_is_none(word: str, key: str) -> None:
    other = "type: queue-scorer, " if key == "name" else ""
    (found,) = refusals(f"plugins: [{{{other}{key}: {word}}}]")
    assert found.endswith("YAML reads yes, on and 12 as no text; put it in quotes")
    quoted = refusals(f"plugins: [{{{other}{key}: '{word}'}}]")
    assert not any("Expected" in problem for problem in quoted)


@pytest.mark.parametrize(
    "text",
    [
        "plugins: []\nplugins: []",
        "plugins:\n- type: queue-scorer\n  type: queue-scorer",
        "plugins: [{type: random-picker, parameters: {a: 1, a: 1}}]",
    ],
)
def test_21_a_key_that_is_given_twice_is_refused(text: str) -> None:
    (found,) = refusals(text)
    assert "already set in map" in found


def test_22_chats_are_hashed_as_the_json_that_go_writes() -> None:
    messages = (ChatMessage(role="user", content="<&>\u2028\u2029\x7f"),)
    written = prefix_bytes(RequestBody(model="m", messages=messages), 1000)
    assert rb"\u003c\u0026\u003e\u2028\u2029" + b"\x7f" in written
