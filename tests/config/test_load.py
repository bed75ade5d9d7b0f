from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.config.document import read_document
from epp.config.findings import ConfigError, Severity
from epp.config.load import DEFAULT_CONFIG, LoadedConfig, load_config
from epp.core.call import in_role
from epp.core.plugin import PreRequest
from epp.plugins.discovery.file import FileDiscovery
from epp.plugins.scorers.prefix_cache import PrefixCacheScorer
from epp.plugins.scorers.queue import QueueScorer
from tests.config.told import errors, told
from tests.fakes import endpoints, make_handle, make_request

ROOT = Path(__file__).parents[2]
NEW = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"


def load(text: str) -> LoadedConfig:
    return load_config(text, "c.yaml", make_handle())


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(text)
    return errors(raised.value.findings)


def profiles(text: str) -> dict[str, tuple[list[tuple[str, float]], str]]:
    """Each profile's scorers with their weights, and its picker."""
    return {
        name: ([(s.scorer.name, s.weight) for s in profile.scorers], profile.picker.name)
        for name, profile in load(text).scheduler.profiles.items()
    }


Q = "plugins: [{type: queue-scorer}]\n"
QR = "plugins: [{type: queue-scorer}, {type: random-picker}]\n"


def in_a(references: str) -> str:
    return f"schedulingProfiles: [{{name: a, plugins: [{references}]}}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"default": ([], "max-score-picker")}),
        ("# nothing", {"default": ([], "max-score-picker")}),
        (Q, {"default": ([("queue-scorer", 1.0)], "max-score-picker")}),
        (QR, {"default": ([("queue-scorer", 1.0)], "random-picker")}),
        (
            QR + in_a("{pluginRef: random-picker}, {pluginRef: queue-scorer}"),
            {"a": ([("queue-scorer", 1.0)], "random-picker")},
        ),
        (QR + in_a("{pluginRef: queue-scorer}"), {"a": ([("queue-scorer", 1.0)], "random-picker")}),
        (Q + in_a(""), {"a": ([], "max-score-picker")}),
        (Q + "schedulingProfiles: [{name: a}]", {"a": ([], "max-score-picker")}),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: 0}"),
            {"a": ([("queue-scorer", 0.0)], "max-score-picker")},
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: -3}"),
            {"a": ([("queue-scorer", -3.0)], "max-score-picker")},
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: 2.0}"),
            {"a": ([("queue-scorer", 2.0)], "max-score-picker")},
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: 0.5}"),
            {"a": ([("queue-scorer", 0.5)], "max-score-picker")},
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: null}"),
            {"a": ([("queue-scorer", 1.0)], "max-score-picker")},
        ),
        (
            Q + in_a("{pluginRef: queue-scorer}, {pluginRef: queue-scorer, weight: 2}"),
            {"a": ([("queue-scorer", 1.0), ("queue-scorer", 2.0)], "max-score-picker")},
        ),
        (
            "plugins: [{type: single-profile-handler}]\n"
            + in_a("{pluginRef: single-profile-handler}"),
            {"a": ([], "max-score-picker")},
        ),
        (
            "plugins: [{type: random-picker}, {type: max-score-picker}]\n" + in_a(""),
            {"a": ([], "random-picker")},
        ),
        (
            "plugins: [{name: max-score-picker, type: queue-scorer}]",
            {"default": ([("max-score-picker", 1.0)], "max-score-picker-default")},
        ),
        (
            "plugins: [{name: one, type: queue-scorer}, {name: two, type: queue-scorer}]",
            {"default": ([("one", 1.0), ("two", 1.0)], "max-score-picker")},
        ),
        (
            "plugins:\n- &q {type: queue-scorer}\n- {<<: *q, name: again}\n",
            {"default": ([("queue-scorer", 1.0), ("again", 1.0)], "max-score-picker")},
        ),
    ],
)
def test_a_configuration_makes_profiles(
    text: str, expected: dict[str, tuple[list[tuple[str, float]], str]]
) -> None:
    assert profiles(text) == expected


def test_the_default_is_the_one_of_the_chart() -> None:
    assert profiles(DEFAULT_CONFIG) == {
        "default": (
            [
                ("queue-scorer", 2.0),
                ("kv-cache-utilization-scorer", 2.0),
                ("prefix-cache-scorer", 3.0),
            ],
            "max-score-picker",
        )
    }
    assert load(DEFAULT_CONFIG).scheduler.handler.type == "single-profile-handler"
    assert list(load(DEFAULT_CONFIG).findings) == []


def test_the_default_is_also_a_file_to_start_from() -> None:
    file = (ROOT / "config" / "picker" / "default-plugins.yaml").read_text()
    assert read_document(file, "f").value == read_document(DEFAULT_CONFIG, "d").value


TWO = "schedulingProfiles: [{name: a, plugins: []}, {name: b, plugins: []}]"
HANDLER = "{type: single-profile-handler}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plugins:\n- type: ]", "c.yaml:2: no YAML: "),
        ("[1]", "c.yaml:1: expected a mapping at the top level"),
        ("hello", "c.yaml:1: expected a mapping at the top level"),
        (
            "plugins:\n- type: nope",
            "c.yaml:2: plugins[0].type: plugin type 'nope' is not found in registry",
        ),
        (
            "plugins:\n- name: x",
            "c.yaml:2: plugins[0]: plugin definition for 'x' is missing a type",
        ),
        ("plugins:\n- {}", "c.yaml:2: plugins[0]: plugin definition for '' is missing a type"),
        (
            "plugins:\n- type: queue-scorer\n- type: queue-scorer",
            "c.yaml:3: plugins[1]: plugin name 'queue-scorer' used more than once",
        ),
        (
            Q + in_a("{pluginRef: zz}"),
            "c.yaml:2: schedulingProfiles[0].plugins[0]: zz is a reference to an undefined Plugin",
        ),
        (
            Q + in_a("{pluginRef: ''}"),
            "c.yaml:2: schedulingProfiles[0].plugins[0]: SchedulingProfile 'a' plugins must have a "
            "plugin reference",
        ),
        (
            Q + "schedulingProfiles:\n- plugins: []",
            "c.yaml:3: schedulingProfiles[0]: SchedulingProfile must have a name",
        ),
        (Q + TWO, "c.yaml:2: schedulingProfiles: no profile handler was specified"),
        (
            f"plugins: [{HANDLER}]\n{TWO}",
            "c.yaml:2: schedulingProfiles: single profile handler is intended to be used with a "
            "single profile, but multiple profiles were specified",
        ),
        (
            f"plugins: [{HANDLER}, {{name: b, type: single-profile-handler}}]",
            "c.yaml:1: plugins[1]: only one profile handler is allowed. Both "
            "single-profile-handler and b are profile handlers",
        ),
        (
            "plugins: [{type: random-picker}, {type: max-score-picker}]",
            "failed to set 'max-score-picker/max-score-picker' as picker, already have a "
            "registered picker plugin 'random-picker/random-picker'",
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: '2'}"),
            "c.yaml:2: schedulingProfiles[0].plugins[0].weight: Expected `float | null`, got `str`",
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: .nan}"),
            "c.yaml:2: schedulingProfiles[0].plugins[0].weight: expected a finite number",
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, weight: -.inf}"),
            "c.yaml:2: schedulingProfiles[0].plugins[0].weight: expected a finite number",
        ),
        (
            "plugins:\n- type: max-score-picker\n  parameters:\n    maxNumOfEndpoints: two",
            "c.yaml:4: plugins[0].parameters.maxNumOfEndpoints: Expected `int`, got `str`",
        ),
        (
            "plugins: [{type: max-score-picker, parameters: [1]}]",
            "c.yaml:1: plugins[0].parameters: expected a mapping of parameters",
        ),
        (
            NEW + "plugins: [{type: queue-scorer, parameters: [1]}]",
            "c.yaml:3: plugins[0].parameters: expected a mapping of parameters",
        ),
        (
            NEW + "plugins: [{type: max-score-picker, parameters: {nope: 1}}]",
            'c.yaml:3: plugins[0].parameters.nope: unknown field "nope", no parameter of '
            "max-score-picker; there is only maxNumOfEndpoints",
        ),
        ("plugins: [{type: on}]", "c.yaml:1: plugins[0].type: Expected `str`, got `bool`"),
        ("plugins: [{type: 12}]", "c.yaml:1: plugins[0].type: Expected `str`, got `int`"),
        ("plugins: queue-scorer", "c.yaml:1: plugins: Expected `array | null`, got `str`"),
        ("plugins: [queue-scorer]", "c.yaml:1: plugins[0]: Expected `object`, got `str`"),
        ("\nfoo: 1", 'c.yaml:2: foo: unknown field "foo"'),
        ("metadata: {name: x}", 'c.yaml:1: metadata: unknown field "metadata"'),
        ("Plugins: []", 'c.yaml:1: Plugins: unknown field "Plugins"'),
        (
            "plugins:\n- type: queue-scorer\n  bar: 1",
            'c.yaml:3: plugins[0].bar: unknown field "bar"',
        ),
        (
            Q + in_a("{pluginRef: queue-scorer, wait: 1}"),
            'c.yaml:2: schedulingProfiles[0].plugins[0].wait: unknown field "wait"',
        ),
        ("plugins: []\nplugins: []", 'c.yaml:2: key "plugins" already set in map'),
        (
            "plugins: [{type: prefix-cache-scorer, parameters: {blockSize: 1, blockSize: 2}}]",
            'c.yaml:1: key "blockSize" already set in map',
        ),
        (
            "featureGates: [foo]",
            "c.yaml:1: featureGates[0]: foo is an unregistered Feature Gate",
        ),
        ("apiVersion: v1", 'no kind "" is registered for version "v1"'),
        ("kind: Pod", 'c.yaml:1: kind: no kind "Pod" is registered for version ""'),
        (
            "dataLayer: {discovery: {pluginRef: zz}}",
            "dataLayer.discovery.pluginRef: zz is a reference to an undefined Plugin",
        ),
        (
            Q + "dataLayer: {discovery: {pluginRef: queue-scorer}}",
            "c.yaml:2: dataLayer.discovery.pluginRef: queue-scorer (queue-scorer) is not a "
            "discovery",
        ),
        (
            "plugins: [{type: file-discovery, parameters: {path: ''}}]",
            "c.yaml:1: plugins[0].parameters.path: Expected `str` of length >= 1",
        ),
        (
            "plugins: [{type: file-discovery}]",
            "c.yaml:1: plugins[0].parameters: `path` is required",
        ),
    ],
)
def test_a_wrong_configuration_is_refused_with_place_and_rule(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found


def test_two_profiles_of_one_name_lack_a_handler_besides() -> None:
    assert problems(Q + "schedulingProfiles:\n- name: a\n- name: a") == [
        "c.yaml:2: schedulingProfiles: no profile handler was specified; several profiles need one "
        "such as disagg-profile-handler",
        "c.yaml:4: schedulingProfiles[1]: the name 'a' has been specified for more than one "
        "SchedulingProfile",
    ]


@pytest.mark.parametrize(
    "handler",
    [
        "{type: disagg-profile-handler, parameters: {deciders: 1}}",
        "{type: disagg-profile-handler, params: {}}",
    ],
)
def test_a_refused_handler_is_not_missed_besides(handler: str) -> None:
    assert len(problems(f"plugins: [{handler}]\n{TWO}")) == 1


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            "plugins:\n- {type: queue-scorer, foo: 1, bar: 2}",
            ["plugins[0].foo:", "plugins[0].bar:"],
        ),
        (
            Q + in_a("{pluginRef: 1, weight: x, foo: 1}"),
            [f"schedulingProfiles[0].plugins[0].{key}:" for key in ("pluginRef", "weight", "foo")],
        ),
        (
            "flowControl: {maxBytes: [], maxRequests: x, saturationDetector: {pluginRef: zz}, "
            "priorityBands: [{priority: x}, {foo: 1}]}",
            [
                "flowControl.maxBytes:",
                "flowControl.maxRequests:",
                "flowControl.saturationDetector.pluginRef:",
                "flowControl.priorityBands[0].priority:",
                "flowControl.priorityBands[1].foo:",
            ],
        ),
        (
            "dataLayer: {injectDefaults: no, sources: [{}], discovery: {pluginRef: zz}}",
            ["dataLayer.sources[0]:", "dataLayer.discovery.pluginRef:"],
        ),
        (
            "plugins:\n- type: queue-scorer\n- type: queue-scorer\n  parameters: 1\n"
            "- {type: nope, name: queue-scorer}\n" + NEW,
            ["plugins[1]:", "plugins[1].parameters:", "plugins[2]:", "plugins[2].type:"],
        ),
    ],
)
def test_no_problem_hides_another(text: str, places: list[str]) -> None:
    assert [problem.split(" ")[1] for problem in problems(text)] == places


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        "apiVersion: v1\n"
        "featureGates: [foo]\n"
        "plugins:\n"
        "- type: nope\n"
        "- type: max-score-picker\n"
        "  parameters: {maxNumOfEndpoints: x}\n"
        "schedulingProfiles:\n"
        "- plugins: [{pluginRef: zz}]\n"
        "flowControl: {saturationDetector: {pluginRef: zz}}\n"
    )
    assert [problem.split(" ")[0] for problem in found] == [
        f"c.yaml:{line}:" for line in (1, 2, 4, 6, 8, 8, 9)
    ]


@pytest.mark.parametrize(
    ("parameters", "limit"),
    [
        ("{maxNumOfEndpoints: 2}", 2),
        ("{MAXNUMOFENDPOINTS: 2}", 2),
        ("{maxnumofendpoints: 2, nope: 1}", 2),
        ("{max_num_of_endpoints: 2}", 1),
        ("{maxNumOfEndpoints: 0}", 1),
        ("{maxNumOfEndpoints: -4}", 1),
        ("{}", 1),
        ("null", 1),
    ],
)
def test_parameter_names_are_matched_in_any_case(parameters: str, limit: int) -> None:
    loaded = load(f"plugins: [{{type: random-picker, parameters: {parameters}}}]")
    result = loaded.scheduler.schedule(make_request(), endpoints(1, 2, 3))
    assert len(result.picked) == limit


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        (
            "plugins: [{type: random-picker, parameters: {nope: 1}}]",
            "c.yaml:1: plugins[0].parameters.nope: random-picker ignores this parameter; there "
            "is only maxNumOfEndpoints",
        ),
        (
            "plugins: [{type: queue-scorer, parameters: [1]}]",
            "c.yaml:1: plugins[0].parameters: queue-scorer ignores its parameters",
        ),
        (
            "featureGates: [dataLayer]",
            "c.yaml:1: featureGates[0]: feature gate dataLayer has no effect in this version",
        ),
        (
            "featureGates: [flowControl]",
            "c.yaml:1: featureGates[0]: feature gate flowControl has no effect in this version",
        ),
        (
            "flowControl: {defaultRequestTTL: 60s}",
            "c.yaml:1: flowControl.defaultRequestTTL: has no effect: the feature gate "
            "flowControl is off",
        ),
        (
            "plugins: [{type: utilization-detector, parameters: {headroom: 1.5}}]",
            "c.yaml:1: plugins[0].parameters.headroom: a part of the thresholds: above 1 it more "
            "than doubles them",
        ),
    ],
)
def test_what_has_no_effect_is_worth_a_notice(text: str, notice: str) -> None:
    assert told(load(text).findings, Severity.WARNING, Severity.NOTE) == [notice]


@pytest.mark.parametrize("gates", ["[dataLayer, dataLayer]", "[flowControl=false]", "[]", "null"])
def test_gates_may_be_repeated_or_off(gates: str) -> None:
    load(f"featureGates: {gates}")


@pytest.mark.parametrize(
    "head",
    [
        "",
        "kind: EndpointPickerConfig\n",
        "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n",
        NEW,
    ],
)
def test_both_groups_are_accepted_and_none_is_needed(head: str) -> None:
    assert len(profiles(head + Q)["default"][0]) == 1


def test_plugins_are_found_by_role_in_the_order_of_their_declaration() -> None:
    loaded = load(
        "plugins: [{type: byte-prefix-cache-producer, name: p}, {type: queue-scorer},"
        " {type: byte-prefix-cache-producer, name: q}]"
    )
    assert [plugin.name for plugin in in_role(PreRequest, loaded.plugins)] == ["p", "q"]
    assert [plugin.name for plugin in loaded.endpoint_listeners] == ["p", "q"]
    assert [plugin.name for plugin in in_role(QueueScorer, loaded.plugins)] == ["queue-scorer"]


def test_profiles_share_a_plugin_instance() -> None:
    loaded = load("plugins: [{type: prefix-cache-scorer}]")
    (profile,) = loaded.scheduler.profiles.values()
    assert [profile.scorers[0].scorer] == in_role(PrefixCacheScorer, loaded.plugins)


def test_discovery_may_come_from_a_file() -> None:
    loaded = load(
        "plugins: [{type: file-discovery, parameters: {path: /e.yaml, watchFile: true}}]\n"
        "dataLayer: {discovery: {pluginRef: file-discovery}}"
    )
    assert isinstance(loaded.discovery, FileDiscovery)
    assert (loaded.discovery.path, loaded.discovery.watch_file) == ("/e.yaml", True)
    assert load(Q).discovery is None


SAMPLE = (
    DEFAULT_CONFIG
    + "saturationDetector: {queueDepthThreshold: 5, metricsStalenessThreshold: 200ms}\n"
    + "flowControl: {saturationDetector: {pluginRef: d}, maxBytes: 4Gi}\n"
    + "featureGates: [dataLayer]\n"
    + "dataLayer: {discovery: {pluginRef: f}}\n"
)
SNIPPETS = st.sampled_from(
    [
        *["{", "}", "[", "]", ":", "- ", "\n", "  ", "'", '"', "#", "&a", "*a", "<<: ", "? ", "|"],
        *["!!int ", "!!bool ", "~", "null", "yes", ".nan", "-1", "1e999", "2001-01-01", "0x", "\t"],
        *["type", "name", "parameters", "weight: ", "pluginRef: ", "plugins:", "random-picker"],
    ]
)


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), SNIPPETS | st.text(max_size=3)), max_size=6
    )
)
def test_a_damaged_configuration_is_loaded_or_refused(edits: list[tuple[float, int, str]]) -> None:
    text = SAMPLE
    for place, length, piece in edits:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + length :]
    loads_or_is_refused(text)


@given(st.randoms(use_true_random=False))
def test_a_configuration_of_shuffled_lines_is_loaded_or_refused(random: Random) -> None:
    lines = SAMPLE.splitlines(keepends=True)
    random.shuffle(lines)
    loads_or_is_refused("".join(lines))


JSONISH: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["queue-scorer", "random-picker", "a", "", "llm-d.ai/v1alpha1", "100ms"])
    | st.just("utilization-detector")
    | st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *["plugins", "type", "name", "parameters", "schedulingProfiles", "pluginRef"],
                    *["weight", "featureGates", "saturationDetector", "dataLayer", "discovery"],
                    *["maxNumOfEndpoints", "kvCacheUtilThreshold", "metricsStalenessThreshold"],
                    *["flowControl", "maxRequests", "queueDepthThreshold", "headroom"],
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSONISH)
def test_a_document_of_odd_types_is_loaded_or_refused(value: Any) -> None:
    loads_or_is_refused(repr(value).replace("None", "null"))


def loads_or_is_refused(text: str) -> None:
    try:
        loaded = load(text)
    except ConfigError as error:
        found = errors(error.findings)
    else:
        assert loaded.scheduler.profiles
        return
    assert found
    assert all(problem.startswith("c.yaml") and "\n" not in problem for problem in found)
