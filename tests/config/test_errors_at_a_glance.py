"""What each upstream release does with an input, row by row, and what is done with it here.

``old`` and ``new`` are what happens to the input under the group of either release: a part of the
refusal, or what the configuration amounts to. Where that differs from the release ``differs`` says
why; a release that crashes is no model.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from epp.config.environment import override_thresholds
from epp.config.findings import ConfigError, Severity
from epp.config.load import DEFAULT_CONFIG, LoadedConfig
from epp.core.request import ChatMessage, RequestBody
from epp.prefixcache.text import prefix_bytes
from epp.saturation import AnyRoomDetector, Thresholds
from tests.config.loading import NEW, OLD, load
from tests.config.told import errors, told

LOADS = "loads"


class Row(NamedTuple):
    """An input without its head, and what happens to it."""

    input: str
    text: str
    old: str
    new: str
    differs: str = ""


Q = "plugins: [{type: queue-scorer}]\n"
QR = "plugins: [{type: queue-scorer}, {type: random-picker}]\n"
TWO = "schedulingProfiles: [{name: a}, {name: b}]\n"
SINGLE = "{type: single-profile-handler}"
Q_ALONE = "default: queue-scorer*1 max-score-picker"


def in_a(*uses: str) -> str:
    return f"schedulingProfiles: [{{name: a, plugins: [{', '.join(uses)}]}}]\n"


def both(text: str) -> tuple[str, str]:
    """The same in both groups."""
    return text, text


ONE_WORDING = "one wording for both groups: the 2025 release's, with the place before it"
ROWS = [
    Row("malformed YAML", "plugins: ]", *both("no YAML: "), ONE_WORDING),
    Row("an empty document", "", *both("default: max-score-picker")),
    Row("only a scorer", Q, *both(Q_ALONE)),
    Row(
        "a scorer and a picker without profiles",
        QR,
        *both("default: queue-scorer*1 random-picker"),
    ),
    Row(
        "the picker before a scorer without weight",
        QR + in_a("{pluginRef: random-picker}", "{pluginRef: queue-scorer}"),
        *both("a: random-picker queue-scorer*1"),
        "the 2025 release crashes",
    ),
    Row(
        "an unknown type",
        "plugins: [{type: nope}]",
        *both("plugin type 'nope' is not found in registry"),
        ONE_WORDING,
    ),
    Row(
        "no type",
        "plugins: [{name: x}]",
        *both("plugin definition for 'x' is missing a type"),
        ONE_WORDING,
    ),
    Row("neither type nor name", "plugins: [{}]", *both("plugin definition for '' is missing a")),
    Row(
        "a name twice",
        "plugins: [{type: queue-scorer, name: q}, {type: random-picker, name: q}]",
        *both("plugin name 'q' used more than once"),
        ONE_WORDING,
    ),
    Row(
        "a type twice without names",
        "plugins: [{type: queue-scorer}, {type: queue-scorer}]",
        *both("plugin name 'queue-scorer' used more than once"),
        ONE_WORDING,
    ),
    Row(
        "an unknown reference",
        Q + in_a("{pluginRef: zz}"),
        *both("zz is a reference to an undefined Plugin"),
        ONE_WORDING,
    ),
    Row(
        "an empty reference",
        Q + in_a("{pluginRef: ''}"),
        *both("SchedulingProfile 'a' plugins must have a plugin reference"),
        ONE_WORDING,
    ),
    Row(
        "a profile without name",
        Q + "schedulingProfiles: [{plugins: []}]",
        *both("SchedulingProfile must have a name"),
        ONE_WORDING,
    ),
    Row(
        "a profile twice",
        "schedulingProfiles: [{name: a}, {name: a}]",
        *both("the name 'a' has been specified for more than one SchedulingProfile"),
        ONE_WORDING,
    ),
    Row(
        "two profiles without handler",
        Q + TWO,
        *both("no profile handler was specified"),
        ONE_WORDING,
    ),
    Row(
        "two profiles with the handler of one",
        f"plugins: [{SINGLE}]\n{TWO}",
        *both(
            "single profile handler is intended to be used with a single profile, but multiple "
            "profiles were specified"
        ),
        ONE_WORDING,
    ),
    Row(
        "two handlers",
        f"plugins: [{SINGLE}, {{type: single-profile-handler, name: b}}]",
        *both("only one profile handler is allowed. Both single-profile-handler and b are profile"),
        ONE_WORDING,
    ),
    Row(
        "a profile that references no scheduling plugin",
        f"plugins: [{SINGLE}, {{type: openai-parser}}]\n"
        + in_a("{pluginRef: single-profile-handler}", "{pluginRef: openai-parser}"),
        *both("a: single-profile-handler openai-parser max-score-picker"),
    ),
    Row("a profile without plugins", Q + in_a(), *both("a: max-score-picker")),
    Row(
        "a missing weight",
        Q + in_a("{pluginRef: queue-scorer}"),
        *both("a: queue-scorer*1 max-score-picker"),
    ),
    Row(
        "a weight of 0",
        Q + in_a("{pluginRef: queue-scorer, weight: 0}"),
        *both("a: queue-scorer*0 max-score-picker"),
    ),
    Row(
        "a negative weight",
        Q + in_a("{pluginRef: queue-scorer, weight: -3}"),
        *both("a: queue-scorer*-3 max-score-picker"),
    ),
    Row(
        "a weight that is not whole",
        Q + in_a("{pluginRef: queue-scorer, weight: 0.5}"),
        *both("a: queue-scorer*0.5 max-score-picker"),
        "the 2025 release refuses it; nothing is lost by reading it",
    ),
    Row(
        "a scorer twice in a profile",
        Q + in_a("{pluginRef: queue-scorer}", "{pluginRef: queue-scorer, weight: 2}"),
        *both("a: queue-scorer*1 queue-scorer*2 max-score-picker"),
    ),
    Row(
        "an unknown parameter",
        "plugins: [{type: random-picker, parameters: {nope: 1}}]",
        "default: random-picker",
        'unknown field "nope"',
    ),
    Row(
        "a parameter in another case",
        "plugins: [{type: random-picker, parameters: {maxnumofENDPOINTS: 1}}]",
        *both("default: random-picker"),
    ),
    Row(
        "a parameter of the wrong type",
        "plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: x}}]",
        *both("plugins[0].parameters.maxNumOfEndpoints: Expected `int`, got `str`"),
        "msgspec's words instead of Go's",
    ),
    Row(
        "parameters of a plugin that takes none",
        "plugins: [{type: queue-scorer, parameters: {a: 1}}]",
        Q_ALONE,
        'unknown field "a", no parameter of queue-scorer',
        "the newer release ignores them in most plugins; one rule for all is easier to keep",
    ),
    Row(
        "parameters that are no mapping, of a plugin that takes none",
        "plugins: [{type: queue-scorer, parameters: [1]}]",
        Q_ALONE,
        "expected a mapping of parameters",
        "as above",
    ),
    Row(
        "an unknown gate",
        "featureGates: [foo]",
        *both("foo is an unregistered Feature Gate"),
        ONE_WORDING,
    ),
    Row("a gate twice", "featureGates: [flowControl, flowControl]", *both(LOADS)),
    Row(
        "a gate that is closed",
        "featureGates: [flowControl=false]",
        *both(LOADS),
        "the 2025 release knows no such form; both generations' files are read",
    ),
    Row(
        "the gate of the data layer",
        "featureGates: [dataLayer]",
        *both(LOADS),
        "the newer release has removed it; there is nothing to lose by ignoring it",
    ),
    Row(
        "thresholds outside their range",
        "saturationDetector: {queueDepthThreshold: -1, kvCacheUtilThreshold: 1.5, "
        "metricsStalenessThreshold: -5s}",
        *both("thresholds 5 0.8 None"),
        "the newer release does not know the fields. The default of 200ms follows the interval of "
        "scrapes where that is longer",
    ),
]


def amounts_to(config: LoadedConfig) -> str:
    """Profiles with their plugins and weights; what else a row asks for."""
    profiles = [
        f"{plan.name}: "
        + " ".join(
            use.plugin.name + ("" if use.weight is None else f"*{use.weight:g}")
            for use in plan.uses
        )
        for plan in config.profiles
    ]
    detector = config.saturation
    if isinstance(detector, AnyRoomDetector):
        t = detector.thresholds
        profiles.append(f"thresholds {t.queue_depth} {t.kv_cache_ratio} {t.staleness_seconds}")
    return "; ".join([LOADS, *profiles])


def outcome(text: str) -> str:
    """What the configuration amounts to, or why it is refused."""
    try:
        return amounts_to(load(text))
    except ConfigError as error:
        return "; ".join(errors(error.findings))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.input))
def test_an_input_is_read_as_by_the_2025_release(row: Row) -> None:
    assert row.old in outcome(OLD + row.text), row.differs
    assert row.old in outcome(row.text), row.differs


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.input))
def test_an_input_is_read_as_by_the_newer_release(row: Row) -> None:
    assert row.new in outcome(NEW + row.text), row.differs


PREFIX = "plugins: [{type: prefix-cache-scorer"
BOTH = OLD, NEW


@pytest.mark.parametrize(
    ("decision", "groups", "text", "expected"),
    [
        ("1 a built-in default", ("",), DEFAULT_CONFIG, "prefix-cache-scorer*3 max-score-picker"),
        (
            "2 weight 1 always",
            BOTH,
            QR + in_a("{pluginRef: random-picker}", "{pluginRef: queue-scorer}"),
            "random-picker queue-scorer*1",
        ),
        ("3 both groups", BOTH, Q, Q_ALONE),
        ("3 and neither", ("",), Q, Q_ALONE),
        (
            "3 whole weights as numbers",
            BOTH,
            Q + in_a("{pluginRef: queue-scorer, weight: 2.0}"),
            "*2",
        ),
        (
            "3 no text as weight",
            BOTH,
            Q + in_a("{pluginRef: queue-scorer, weight: '2'}"),
            "Expected",
        ),
        ("3 an unset weight", BOTH, Q + in_a("{pluginRef: queue-scorer, weight: null}"), "*1"),
        (
            "4 thresholds in both groups",
            BOTH,
            "saturationDetector: {queueDepthThreshold: 7}",
            "thresholds 7 0.8",
        ),
        (
            "4 a plugin in both groups",
            BOTH,
            "plugins: [{type: utilization-detector, name: d}]\nsaturationDetector: {pluginRef: d}",
            LOADS,
        ),
        (
            "4 not both at once",
            BOTH,
            "saturationDetector: {pluginRef: d, queueDepthThreshold: 7}",
            "expected either pluginRef or thresholds",
        ),
        (
            "5 parameters in bytes",
            BOTH,
            PREFIX + ", parameters: {blockSize: 5, maxPrefixBlocksToMatch: 6, "
            "lruCapacityPerServer: 7}}]",
            "prefix-cache-scorer*1",
        ),
        ("8 the removed gate", BOTH, "featureGates: [dataLayer]", LOADS),
        ("9 fractional weights", BOTH, Q + in_a("{pluginRef: queue-scorer, weight: 0.5}"), "*0.5"),
        ("10 unknown parameters", (OLD,), PREFIX + ", parameters: {nope: 1}}]", LOADS),
        ("10 unknown parameters", (NEW,), PREFIX + ", parameters: {nope: 1}}]", "unknown field"),
        (
            "11 alpha plugins",
            BOTH,
            "plugins: [{type: session-affinity-scorer}]",
            "has Alpha stability level, but command line flag --allow-experimental-plugins",
        ),
        (
            "19 parameters in any case",
            BOTH,
            "plugins: [{type: utilization-detector, parameters: {QUEUEdepthTHRESHOLD: 0}}]",
            "Expected `int` >= 1",
        ),
        ("19 nothing else in any case", BOTH, "plugins: [{Type: queue-scorer}]", "unknown field"),
        *[
            (
                f"20 {value} is no text",
                BOTH,
                f"plugins: [{{type: queue-scorer, name: {value}}}]",
                "quotes",
            )
            for value in (
                "yes",
                "no",
                "on",
                "off",
                "true",
                "12",
                "012",
                "0x1",
                "1.5",
                "1_0",
                "y",
                "n",
                "1e3",
                "0o7",
            )
        ],
        *[
            (
                f"20 {value} is text",
                BOTH,
                f"plugins: [{{type: queue-scorer, name: {value}}}]",
                f"default: {value.strip(chr(39))}*1",
            )
            for value in ("'on'", "1:30", "2001-01-01", "1e400", "oN", "enabled")
        ],
        ("20 null is unset", BOTH, "plugins: [{type: queue-scorer, name: null}]", Q_ALONE),
        ("21 a key twice", BOTH, "plugins: []\nplugins: []", "already set in map"),
        (
            "21 a parameter twice",
            BOTH,
            "plugins: [{type: random-picker, parameters: {a: 1, a: 1}}]",
            "already set in map",
        ),
    ],
)
def test_where_the_releases_contradict_each_other_this_was_decided(
    decision: str, groups: tuple[str, ...], text: str, expected: str
) -> None:
    for group in groups:
        assert expected in outcome(group + text), decision


def test_6_and_7_a_block_is_bytes_in_the_scorer_and_tokens_in_the_producer() -> None:
    old = load(OLD + PREFIX + ", parameters: {blockSize: 5}}]")
    assert [producer.type for producer in old.producers] == ["byte-prefix-cache-producer"]
    new = load(NEW + PREFIX + "}]")
    assert [producer.type for producer in new.producers] == [
        "token-producer",
        "approx-prefix-cache-producer",
    ]


def test_8_and_10_what_is_ignored_is_told() -> None:
    text = "featureGates: [dataLayer]\nplugins: [{type: random-picker, parameters: {nope: 1}}]"
    found = told(load(OLD + text).findings, Severity.NOTE, Severity.WARNING)
    assert [line.split(" ")[1] for line in found] == [
        "featureGates[0]:",
        "plugins[0].parameters.nope:",
    ]


def test_11_alpha_plugins_may_be_allowed() -> None:
    load(NEW + "plugins: [{type: session-affinity-scorer}]", allow_experimental=True)


def test_22_chats_are_hashed_as_the_json_that_go_writes() -> None:
    body = RequestBody(model="m", messages=[ChatMessage("user", "<&>\u2028\x7f")])
    assert prefix_bytes(body, 99) == (
        b'[{"role":"user","content":"\\u003c\\u0026\\u003e\\u2028\x7f"}]'
    )


def test_variables_of_the_2025_release_override_the_file() -> None:
    thresholds, _ = override_thresholds(Thresholds(), {"SD_QUEUE_DEPTH_THRESHOLD": "9"})
    assert thresholds.queue_depth == 9
