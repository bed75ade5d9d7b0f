from __future__ import annotations

import pytest

from tests.config.told import checked, load, refusals

PLUGINS = (
    "plugins: [{type: decode-filter}, {type: queue-scorer}, {type: random-picker}, "
    "{type: openai-parser}]\n"
)


def uses(text: str) -> dict[str, list[tuple[str, float | None, str]]]:
    """Of each profile: the plugins, their weights, and why they are there."""
    return {
        plan.name: [(use.plugin.name, use.weight, use.origin) for use in plan.uses]
        for plan in load(text).profiles
    }


def in_a(references: str) -> str:
    return f"{PLUGINS}schedulingProfiles: [{{name: a, plugins: [{references}]}}]"


def test_without_profiles_one_uses_everything_in_the_order_of_declaration() -> None:
    (plan,) = load(PLUGINS).profiles
    assert plan.origin == "no profile is declared"
    assert uses(PLUGINS) == {
        "default": [
            ("decode-filter", None, ""),
            ("queue-scorer", 1.0, "the weight by default"),
            ("random-picker", None, ""),
        ]
    }


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        ("", [("random-picker", None, "the profile has no picker")]),
        (
            "{pluginRef: decode-filter, weight: 3}, {pluginRef: random-picker}",
            [("decode-filter", None, ""), ("random-picker", None, "")],
        ),
        (
            "{pluginRef: random-picker}, {pluginRef: queue-scorer, weight: 0.5}",
            [("random-picker", None, ""), ("queue-scorer", 0.5, "")],
        ),
        (
            "{pluginRef: openai-parser}",
            [("openai-parser", None, ""), ("random-picker", None, "the profile has no picker")],
        ),
    ],
)
def test_a_profile_gets_what_it_lacks(
    references: str, expected: list[tuple[str, float | None, str]]
) -> None:
    assert uses(in_a(references)) == {"a": expected}


def test_profiles_without_picker_share_the_first_that_is_declared_or_the_default() -> None:
    two = (
        "schedulingProfiles: [{name: prefill}, {name: decode}]\n"
        "plugins: [{type: disagg-profile-handler, parameters: {deciders: {prefill: d}}}, "
        "{type: always-disagg-pd-decider, name: d}"
    )
    for pickers, name in (("", "max-score-picker"), (", {type: random-picker, name: x}", "x")):
        first, second = load(f"{two}{pickers}]").profiles
        assert first.uses[-1].plugin is second.uses[-1].plugin
        assert first.uses[-1].plugin.name == name


def test_a_second_picker_is_refused_where_it_is_declared_or_referred_to() -> None:
    two = "plugins:\n- type: random-picker\n- type: max-score-picker\n- type: random-picker\n"
    two += "  name: third\n"
    (found,) = [f for f in checked(two) if f.severity == "error"]
    assert (found.rule, found.line, found.place) == ("two-pickers", 3, "plugins[1]")
    text = two + (
        "schedulingProfiles:\n- name: a\n  plugins:\n  - pluginRef: third\n"
        "  - pluginRef: max-score-picker\n"
    )
    (found,) = [f for f in checked(text) if f.severity == "error"]
    assert (found.line, found.place) == (10, "schedulingProfiles[0].plugins[1]")


TWO = "schedulingProfiles: [{name: a}, {name: b}]\n"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", None),
        ("plugins: [{type: single-profile-handler, name: s}]", None),
        ("schedulingProfiles: []", None),
        ("schedulingProfiles: [{name: a}]", None),
        (TWO, "no profile handler was specified; several profiles need one"),
        (TWO + "plugins: [{type: single-profile-handler}]", "single profile handler is intended"),
        (
            "plugins: [{type: single-profile-handler}, {type: single-profile-handler, name: b}]",
            "only one profile handler is allowed. Both single-profile-handler and b are profile",
        ),
        (
            TWO + "plugins: [{type: disagg-profile-handler, parameters: {deciders: {prefill: z}}}]",
            "z is a reference to an undefined Plugin; there are disagg-profile-handler",
        ),
        (TWO + "plugins: [{type: queue-scorer, x: 1}]", 'unknown field "x"'),
        (TWO + "plugins: [{type: nope}]", "plugin type 'nope' is not found in registry"),
    ],
)
def test_one_handler_runs_the_profiles(text: str, refusal: str | None) -> None:
    found = refusals(text)
    assert len(found) == (refusal is not None)
    assert all(f": {refusal}" in problem for problem in found)


@pytest.mark.parametrize(
    ("reference", "refusal"),
    [
        ("{}", "SchedulingProfile 'a' plugins must have a plugin reference"),
        ("{pluginRef: queue-score}", "queue-score is a reference to an undefined Plugin; did you"),
        ("{pluginRef: queue-scorer, weight: .inf}", "expected a finite number"),
    ],
)
def test_a_wrong_reference_is_refused(reference: str, refusal: str) -> None:
    (found,) = refusals(in_a(reference))
    assert refusal in found


def test_what_is_built_is_what_was_planned() -> None:
    text = in_a("{pluginRef: decode-filter}, {pluginRef: queue-scorer, weight: 2}")
    (profile,) = load(text).scheduler.profiles.values()
    assert [f.name for f in profile.filters] == ["decode-filter"]
    assert [(s.scorer.name, s.weight) for s in profile.scorers] == [("queue-scorer", 2.0)]
    assert profile.picker.name == "random-picker"
