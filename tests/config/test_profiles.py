from __future__ import annotations

import pytest

from epp.config.load import LoadedConfig
from epp.core.plugin import Picker
from tests.config.loading import NEW, OLD, load, refusals

PLUGINS = (
    "plugins:\n"
    "- type: queue-scorer\n"
    "- type: decode-filter\n"
    "- type: random-picker\n"
    "- type: max-score-picker\n"
    "- type: openai-parser\n"
)


def uses(loaded: LoadedConfig) -> dict[str, list[tuple[str, float | None, str]]]:
    """What each profile uses: name, weight, and why it is there."""
    return {
        plan.name: [(use.plugin.name, use.weight, use.origin) for use in plan.uses]
        for plan in loaded.profiles
    }


def test_a_profile_uses_what_it_names_in_its_order() -> None:
    text = PLUGINS + (
        "schedulingProfiles:\n- name: a\n  plugins:\n"
        "  - pluginRef: max-score-picker\n"
        "  - {pluginRef: queue-scorer, weight: 0.5}\n"
        "  - {pluginRef: decode-filter, weight: 7}\n"
        "  - pluginRef: openai-parser\n"
        "  - pluginRef: queue-scorer\n"
    )
    loaded = load(NEW + text)
    assert uses(loaded) == {
        "a": [
            ("max-score-picker", None, ""),
            ("queue-scorer", 0.5, ""),
            ("decode-filter", None, ""),
            ("openai-parser", None, ""),
            ("queue-scorer", 1.0, "the weight by default"),
        ]
    }
    (profile,) = loaded.scheduler.profiles.values()
    assert [f.name for f in profile.filters] == ["decode-filter"]
    assert [(s.scorer.name, s.weight) for s in profile.scorers] == [
        ("queue-scorer", 0.5),
        ("queue-scorer", 1.0),
    ]
    assert profile.picker.name == "max-score-picker"


@pytest.mark.parametrize("group", [OLD, NEW])
def test_without_profiles_there_is_one_of_all_scheduling_plugins(group: str) -> None:
    loaded = load(group + PLUGINS.replace("- type: random-picker\n", ""))
    assert uses(loaded) == {
        "default": [
            ("queue-scorer", 1.0, "the weight by default"),
            ("decode-filter", None, ""),
            ("max-score-picker", None, ""),
        ]
    }
    assert [plan.origin for plan in loaded.profiles] == ["no profile is declared"]


def test_all_profiles_without_a_picker_share_the_first_one_or_an_added_one() -> None:
    handler = "- {type: header-profile-handler}\n"
    profiles = "schedulingProfiles: [{name: a}, {name: b}]"
    declared = load(OLD + PLUGINS + handler + profiles, allow_experimental=True)
    assert {plan.uses[-1].plugin.name for plan in declared.profiles} == {"random-picker"}
    added = load(OLD + "plugins:\n" + handler + profiles, allow_experimental=True)
    pickers = [plugin for plugin in added.plugins if isinstance(plugin, Picker)]
    assert [plan.uses[-1].plugin for plan in added.profiles] == pickers * 2
    assert added.entries["max-score-picker"].origin == "no picker is declared"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            PLUGINS,
            [
                "f:5: plugins[3]: failed to set 'max-score-picker/max-score-picker' as picker, "
                "already have a registered picker plugin 'random-picker/random-picker'"
            ],
        ),
        (
            PLUGINS + "schedulingProfiles:\n- name: a\n  plugins:\n"
            "  - pluginRef: random-picker\n  - pluginRef: random-picker\n",
            [
                "f:11: schedulingProfiles[0].plugins[1]: failed to set "
                "'random-picker/random-picker' as picker, already have a registered picker plugin "
                "'random-picker/random-picker'"
            ],
        ),
        (
            "schedulingProfiles: [{}, {name: a}, {name: a}]",
            [
                "f:1: schedulingProfiles: no profile handler was specified",
                "f:1: schedulingProfiles[0]: SchedulingProfile must have a name",
                "f:1: schedulingProfiles[2]: the name 'a' has been specified for more than one",
            ],
        ),
        (
            "plugins:\n- type: queue-scorer\n- type: nope\n"
            "schedulingProfiles: [{name: a, plugins: [{pluginRef: nope}, {pluginRef: nop}]}]",
            [
                "f:3: plugins[1].type: plugin type 'nope' is not found in registry",
                "f:4: schedulingProfiles[0].plugins[1]: nop is a reference to an undefined Plugin",
            ],
        ),
        ("schedulingProfiles: [null]", ["f:1: schedulingProfiles[0]: Expected `object`"]),
        (
            "plugins:\n- type: single-profile-handler\n- type: header-profile-handler\n",
            ["f:3: plugins[1].type: plugin 'header-profile-handler'", "f:3: plugins[1]: only one"],
        ),
    ],
)
def test_a_wrong_profile_is_refused(text: str, problems: list[str]) -> None:
    found = sorted(refusals(text))
    assert len(found) == len(problems)
    for line, start in zip(found, sorted(problems), strict=True):
        assert line.startswith(start)


def test_an_empty_list_of_profiles_is_none() -> None:
    for value in ("[]", "null"):
        assert list(uses(load(f"schedulingProfiles: {value}"))) == ["default"]


def test_no_handler_is_needed_for_one_profile() -> None:
    loaded = load("schedulingProfiles: [{name: a}]")
    assert loaded.entries["single-profile-handler"].origin == "no handler is declared"
    assert loaded.scheduler.handler.type == "single-profile-handler"


@pytest.mark.parametrize("plugin", ["{type: nope}", "{type: disagg-profile-handlr, name: h}"])
def test_a_handler_is_not_missed_where_what_was_refused_may_be_one(plugin: str) -> None:
    text = f"plugins: [{plugin}]\nschedulingProfiles: [{{name: a}}, {{name: b}}]"
    assert all("no profile handler" not in found for found in refusals(text))


def test_a_handler_is_missed_where_what_was_refused_is_none() -> None:
    for plugin in ("{type: latency-scorer}", "{type: queue-scorer, x: 1}"):
        text = f"plugins: [{plugin}]\nschedulingProfiles: [{{name: a}}, {{name: b}}]"
        assert len(refusals(text)) == 2
