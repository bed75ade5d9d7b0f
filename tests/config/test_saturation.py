from __future__ import annotations

from collections.abc import Mapping

import pytest

from epp.config.findings import ConfigError, Findings, Places, Severity
from epp.config.load import DEFAULT_CONFIG, LoadedConfig, load_config
from epp.config.saturation import read_thresholds
from epp.config.schema import SaturationSection
from epp.core.call import in_role
from epp.core.data import CycleData
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter
from epp.plugins.saturation.utilization import UtilizationDetector
from epp.saturation import AnyRoomDetector, Thresholds
from tests.config.told import errors, told
from tests.fakes import make_endpoint, make_handle

NOW = make_handle().clock.now()
OLD = "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n"
NEW = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
OWN = "plugins: [{type: utilization-detector, name: own}]\n"
DEFAULT = "plugins: [{type: utilization-detector}]\n"
BY_NEW = "flowControl: {saturationDetector: {pluginRef: own}}\n"
BY_OLD = "saturationDetector: {pluginRef: own}\n"
THRESHOLDS = "saturationDetector: {queueDepthThreshold: 7}\n"


def load(text: str, environment: Mapping[str, str] | None = None) -> LoadedConfig:
    return load_config(text, "c.yaml", make_handle(), environment)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(text)
    return errors(raised.value.findings)


def waiting(*sizes: int) -> list[Endpoint]:
    return [
        make_endpoint(str(i), waiting_queue_size=n, updated_at=NOW) for i, n in enumerate(sizes)
    ]


def saturation(loaded: LoadedConfig, members: list[Endpoint]) -> float:
    return loaded.saturation.saturation(members, CycleData())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "any-room-detector"),
        (DEFAULT_CONFIG, "any-room-detector"),
        (OLD, "any-room-detector"),
        (OLD + OWN, "any-room-detector"),
        (OLD + "saturationDetector: {}", "any-room-detector"),
        (OLD + "saturationDetector: null", "any-room-detector"),
        (OLD + THRESHOLDS, "any-room-detector"),
        (NEW + THRESHOLDS, "any-room-detector"),
        (NEW + DEFAULT + THRESHOLDS, "any-room-detector"),
        (OLD + DEFAULT, "utilization-detector"),
        (DEFAULT, "utilization-detector"),
        (NEW, "utilization-detector"),
        (NEW + OWN, "utilization-detector"),
        (NEW + "flowControl: {}", "utilization-detector"),
        (NEW + "flowControl: {saturationDetector: {}}", "utilization-detector"),
        (NEW + "flowControl: {saturationDetector: {pluginRef: ''}}", "utilization-detector"),
        (OLD + "saturationDetector: {pluginRef: utilization-detector}", "utilization-detector"),
        (OLD + OWN + BY_NEW, "own"),
        (NEW + OWN + BY_NEW, "own"),
        (OLD + OWN + BY_OLD, "own"),
        (NEW + OWN + BY_OLD, "own"),
        (NEW + OWN + BY_NEW + THRESHOLDS, "own"),
        (NEW + OWN + BY_NEW + "saturationDetector: {pluginRef: not-declared}", "own"),
    ],
)
def test_a_reference_thresholds_or_the_group_choose_the_detector(text: str, name: str) -> None:
    assert load(text).saturation.name == name


def test_the_two_rules_differ_where_one_endpoint_has_room() -> None:
    members = waiting(5, 99)
    assert saturation(load(OLD), members) == 0.0
    assert saturation(load(NEW), members) > 1.0
    assert saturation(load(NEW + THRESHOLDS), waiting(7)) == 0.0
    assert saturation(load(NEW + THRESHOLDS), waiting(8)) == 1.0


def test_a_declared_default_is_the_detector_and_one_that_nobody_declared_is_no_filter() -> None:
    parameters = "plugins: [{type: utilization-detector, parameters: {queueDepthThreshold: 50}}]"
    declared = load(NEW + parameters)
    assert in_role(UtilizationDetector, declared.plugins) == [declared.saturation]
    assert saturation(declared, waiting(5)) == 0.1
    (profile,) = load(NEW).scheduler.profiles.values()
    assert list(profile.filters) == []
    assert isinstance(load(NEW).saturation, Filter)


@pytest.mark.parametrize(
    ("text", "notices"),
    [
        (NEW + OWN + BY_NEW, []),
        (OLD + THRESHOLDS, []),
        (
            OWN + BY_OLD,
            [
                "c.yaml:2: saturationDetector.pluginRef: is deprecated, use "
                "flowControl.saturationDetector.pluginRef"
            ],
        ),
        (
            OWN + BY_NEW + THRESHOLDS,
            ["c.yaml:3: saturationDetector: has no effect beside flowControl.saturationDetector"],
        ),
        (
            OWN + BY_NEW + BY_OLD,
            ["c.yaml:3: saturationDetector: has no effect beside flowControl.saturationDetector"],
        ),
        (
            "flowControl:\n  maxBytes: 4Gi\n  noEndpointRequestTTL: 0s\n  priorityBands: []\n",
            [
                f"c.yaml:{line}: flowControl.{key}: has no effect: the feature "
                "gate flowControl is off"
                for line, key in (
                    (2, "maxBytes"),
                    (3, "noEndpointRequestTTL"),
                    (4, "priorityBands"),
                )
            ],
        ),
    ],
)
def test_what_is_deprecated_or_has_no_effect_is_worth_a_notice(
    text: str, notices: list[str]
) -> None:
    assert told(load(text).findings, Severity.WARNING, Severity.NOTE) == notices


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "\nsaturationDetector: {pluginRef: utilization-detector, queueDepthThreshold: 5}",
            "c.yaml:2: saturationDetector: expected either pluginRef or thresholds "
            "(queueDepthThreshold), not both",
        ),
        (
            OWN + BY_NEW + "saturationDetector: {pluginRef: own, kvCacheUtilThreshold: 0.5, "
            "metricsStalenessThreshold: 1s}",
            "c.yaml:3: saturationDetector: expected either pluginRef or thresholds "
            "(kvCacheUtilThreshold, metricsStalenessThreshold), not both",
        ),
        (
            BY_NEW,
            "c.yaml:1: flowControl.saturationDetector.pluginRef: own is a reference to an "
            "undefined Plugin",
        ),
        (
            BY_OLD,
            "c.yaml:1: saturationDetector.pluginRef: own is a reference to an undefined Plugin",
        ),
        (
            "plugins: [{type: queue-scorer, name: own}]\n" + BY_NEW,
            "c.yaml:2: flowControl.saturationDetector.pluginRef: own (queue-scorer) is not a "
            "saturation detector",
        ),
        (
            NEW + "plugins: [{type: queue-scorer, name: utilization-detector}]",
            "c.yaml:1: flowControl.saturationDetector.pluginRef: utilization-detector "
            "(queue-scorer) is not a saturation detector",
        ),
        (
            "flowControl: {saturationDetector: {queueDepthThreshold: 5}}",
            "c.yaml:1: flowControl.saturationDetector.queueDepthThreshold: unknown field "
            '"queueDepthThreshold"; there is only pluginRef',
        ),
        (
            "flowControl: {enableEvictions: 1}",
            'c.yaml:1: flowControl.enableEvictions: unknown field "enableEvictions"; did you mean '
            "'enableEviction'?",
        ),
        (
            "saturationDetector: {metricsStalenessThreshold: 5}",
            "c.yaml:1: saturationDetector.metricsStalenessThreshold: Expected `str | null`, "
            "got `int`: YAML reads yes, on and 12 as no text; put it in quotes",
        ),
        (
            "saturationDetector: {metricsStalenessThreshold: soon}",
            "c.yaml:1: saturationDetector.metricsStalenessThreshold: expected a duration such as "
            "200ms",
        ),
        (
            OWN + BY_NEW + "saturationDetector: {metricsStalenessThreshold: soon}",
            "c.yaml:3: saturationDetector.metricsStalenessThreshold: expected a duration such as "
            "200ms",
        ),
    ],
)
def test_a_wrong_choice_is_refused_with_place_and_rule(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_every_wrong_parameter_is_told() -> None:
    assert problems(
        "plugins:\n"
        "- type: utilization-detector\n"
        "  parameters:\n"
        "    queueDepthThreshold: 0\n"
        "    kvCacheUtilThreshold: 1.1\n"
        "    metricsStalenessThreshold: 0s\n"
        "    headroom: -0.1\n"
    ) == [
        "c.yaml:4: plugins[0].parameters.queueDepthThreshold: Expected `int` >= 1",
        "c.yaml:5: plugins[0].parameters.kvCacheUtilThreshold: Expected `float` <= 1.0",
        "c.yaml:6: plugins[0].parameters.metricsStalenessThreshold: expected a duration above 0 "
        "such as 200ms",
        "c.yaml:7: plugins[0].parameters.headroom: Expected `float` >= 0.0",
    ]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (None, Thresholds()),
        (SaturationSection(), Thresholds()),
        (SaturationSection(None, 7, 0.5, "1s"), Thresholds(7, 0.5, 1.0)),
        (SaturationSection(None, -1, 1.5, "-5s"), Thresholds()),
        (SaturationSection(None, 0, 1.0, "0"), Thresholds()),
        (SaturationSection(None, None, None, "200ms"), Thresholds(5, 0.8, 0.2)),
        (SaturationSection(None, None, float("nan"), None), Thresholds()),
    ],
)
def test_thresholds_outside_their_range_mean_the_default(
    section: SaturationSection | None, expected: Thresholds
) -> None:
    assert read_thresholds(section, Findings(Places("c.yaml", {}))) == expected


def test_variables_override_thresholds_and_nothing_else() -> None:
    environment = {"SD_QUEUE_DEPTH_THRESHOLD": "9", "ENABLE_EXPERIMENTAL_DATALAYER_V2": "true"}
    overridden = load(OLD + THRESHOLDS, environment)
    assert isinstance(overridden.saturation, AnyRoomDetector)
    assert saturation(overridden, waiting(9)) == 0.0
    assert saturation(overridden, waiting(10)) == 1.0
    assert list(overridden.environment_notices) == [
        "ENABLE_EXPERIMENTAL_DATALAYER_V2 has no effect",
        "SD_QUEUE_DEPTH_THRESHOLD is deprecated, use saturationDetector.queueDepthThreshold: "
        "overridden with 9",
    ]
    untouched = load(NEW, environment)
    assert saturation(untouched, waiting(5)) == 1.0
    assert list(untouched.environment_notices) == [
        "SD_QUEUE_DEPTH_THRESHOLD has no effect",
        "ENABLE_EXPERIMENTAL_DATALAYER_V2 has no effect",
    ]
    assert list(load(OLD).environment_notices) == []
