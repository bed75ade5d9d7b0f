from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from epp.config.findings import ConfigError
from epp.config.load import LoadedConfig, load_config
from epp.core.endpoint import Endpoint
from epp.core.errors import ParameterError
from epp.core.plugin import (
    REGISTRY,
    Handle,
    Params,
    Plugin,
    PluginName,
    PluginType,
    Scorer,
    Stability,
)
from epp.core.request import InferenceRequest
from tests.config.told import NEW, checked, errors, load, refusals, told
from tests.fakes import make_handle


class LinkParams(Params, frozen=True):
    after: PluginName = PluginName("")
    value: int = 0


class Link(Scorer):
    """Knows the plugin that it names; fails where its value says so."""

    def __init__(self, params: LinkParams, handle: Handle) -> None:
        if params.value == 1:
            raise ParameterError("value", "must not be 1")
        if params.value == 2:
            raise RuntimeError("out\nof order")
        self.named = handle.plugins[params.after] if params.after else None

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [0.0 for _ in endpoints]


LINK = PluginType("link", LinkParams, Stability.BETA, Link, Link, aliases=("chain",))
OWN = msgspec.structs.replace(LINK, name="own-link", aliases=(), origin="/plugins/mine.py")
OLDER = msgspec.structs.replace(LINK, name="older", aliases=(), deprecated="use link")
CATALOGUE = {**REGISTRY, "link": LINK, "own-link": OWN, "older": OLDER}


class Made(NamedTuple):
    """What came of a text."""

    config: LoadedConfig | None
    errors: list[str]


def links(text: str, before: LoadedConfig | None = None, kind: str = "link") -> Made:
    """Plugins such as ``a b<a c:3``: c has the value 3, b names a."""
    lines = [f"{NEW}plugins:\n"]
    for word in text.split():
        rest, _, value = word.partition(":")
        name, _, after = rest.partition("<")
        lines.append(
            f"- {{type: {kind}, name: {name}, parameters: {{after: '{after}', "
            f"value: {value or 0}}}}}\n"
        )
    try:
        config = load_config(
            "".join(lines), "c.yaml", make_handle(), catalogue=CATALOGUE, before=before
        )
    except ConfigError as error:
        return Made(None, errors(error.findings))
    return Made(config, [])


def plugins(made: Made) -> dict[str, Plugin]:
    assert made.config is not None, made.errors
    return {name: entry.plugin for name, entry in made.config.entries.items()}


@pytest.mark.parametrize("text", ["a b<a c<b", "c<b b<a a", "b<a c<b a", "b<a c<a a"])
def test_a_plugin_is_made_after_those_it_names_and_stays_in_its_place(text: str) -> None:
    made = plugins(links(text))
    assert list(made)[:3] == [word[0] for word in text.split()]
    for word in text.split():
        link = made[word[0]]
        assert isinstance(link, Link)
        assert link.named is (made[word[2:]] if word[2:] else None)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a<b", ["plugins[0].parameters.after: b is a reference to an undefined Plugin"]),
        ("a<a", ["plugins[0].parameters.after: plugins name each other: a -> a"]),
        ("a<b b<a", ["plugins[1].parameters.after: plugins name each other: a -> b -> a"]),
        ("x<a a<b b<a y", ["plugins[2].parameters.after: plugins name each other: a -> b -> a"]),
        ("b<a a:1", ["plugins[1].parameters.value: must not be 1"]),
        ("c<b b<a a:x", ["plugins[2].parameters.value: Expected `int`, got `str`"]),
        ("a a b<a", ["plugins[1]: plugin name 'a' used more than once"]),
    ],
)
def test_who_cannot_be_made_is_told_once(text: str, problems: list[str]) -> None:
    found = [problem.partition(": ")[2] for problem in links(text).errors]
    assert [one.startswith(start) for one, start in zip(found, problems, strict=True)] == [True]


def test_a_chain_of_plugins_has_an_end() -> None:
    text = " ".join([f"n{i}<n{i + 1}" for i in range(3000)] + ["n3000"])
    found = links(text).errors
    assert found
    assert all("more than 100 plugins name one another" in problem for problem in found)
    in_order = " ".join(reversed(text.split()))
    assert links(in_order).errors == []


def test_a_name_that_no_shape_could_be_read_of_is_not_undefined() -> None:
    text = (
        "plugins:\n- {type: always-disagg-pd-decider, name: d, x: 1}\n"
        "- {type: disagg-profile-handler, parameters: {deciders: {prefill: d}}}\n"
        "- {name: e}\nschedulingProfiles: [{name: a, plugins: [{pluginRef: e}]}]\n"
    )
    assert [problem.split(": ")[1] for problem in refusals(text)] == ["plugins[0].x", "plugins[2]"]


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("a b", "a b", "ab"),
        ("a b", "b a", "ab"),
        ("a b", "a:3 b", "b"),
        ("a", "a b", "a"),
        ("a b<a", "a b<a", "ab"),
        ("a b<a", "a:3 b<a", ""),
        ("a b<a c<b d", "a:3 b<a c<b d", "d"),
        ("a b<a", "b<a a", "ab"),
        ("a b<a c", "a b<c c", "ac"),
        ("a b<a", "a b", "a"),
        ("a", "x", ""),
    ],
)
def test_what_is_as_before_goes_on_and_nothing_else_does(
    before: str, after: str, kept: str
) -> None:
    first = links(before)
    old, new = plugins(first), plugins(links(after, before=first.config))
    same = [name for name in new if len(name) == 1 and old.get(name) is new[name]]
    assert "".join(sorted(same)) == kept


def test_plugins_that_were_added_go_on_too_and_another_type_of_that_name_does_not() -> None:
    first = links("a")
    assert (
        plugins(links("a", first.config))["max-score-picker"] is plugins(first)["max-score-picker"]
    )
    assert plugins(links("a", first.config, kind="own-link"))["a"] is not plugins(first)["a"]


def test_a_plugin_of_ones_own_that_cannot_be_made_is_a_problem_with_one_line() -> None:
    assert links("a:2", kind="own-link").errors == [
        "c.yaml:4: plugins[0]: own-link of /plugins/mine.py cannot be made: RuntimeError: "
        "out of order"
    ]
    assert links("a:1", kind="own-link").errors == [
        "c.yaml:4: plugins[0].parameters.value: must not be 1"
    ]
    with pytest.raises(RuntimeError):
        links("a:2")


@pytest.mark.parametrize(
    ("kind", "warning"),
    [
        ("chain", "chain is deprecated, use link"),
        ("older", "older is deprecated, use link"),
    ],
)
def test_an_older_name_is_accepted_with_a_warning(kind: str, warning: str) -> None:
    config = links("a", kind=kind).config
    assert config is not None
    assert told(config.findings) == [f"c.yaml:4: plugins[0].type: {warning}"]


def test_alpha_plugins_need_a_flag() -> None:
    text = "plugins:\n- name: s\n  type: session-affinity-scorer\n"
    assert load(text).findings == ()
    with pytest.raises(ConfigError) as raised:
        load_config(text, "c.yaml", make_handle())
    assert errors(raised.value.findings) == [
        "c.yaml:3: plugins[0].type: plugin 's' (type: 'session-affinity-scorer') has Alpha "
        "stability level, but command line flag --allow-experimental-plugins is not set"
    ]


def test_a_default_never_replaces_what_bears_its_name() -> None:
    text = "plugins: [{type: queue-scorer, name: max-score-picker}]"
    assert list(load(text).entries)[:2] == ["max-score-picker", "max-score-picker-default"]


def test_many_wrong_names_in_a_large_file_are_told_soon() -> None:
    names = ", ".join(f"{{type: queue-scorer, name: some-name-{i}}}" for i in range(9000))
    references = ", ".join(f"{{pluginRef: any-name-{i}}}" for i in range(300))
    text = f"plugins: [{names}]\nschedulingProfiles: [{{name: a, plugins: [{references}]}}]"
    assert len([f for f in checked(text) if f.severity == "error"]) == 201
