from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pytest
from msgspec import Meta

from epp.config.findings import Severity
from epp.config.load import LoadedConfig
from epp.core.data import DataKey
from epp.core.endpoint import Endpoint
from epp.core.errors import ParameterError
from epp.core.plugin import Handle, NoParams, Params, Plugin, PluginName, PluginType, Scorer
from epp.core.request import InferenceRequest
from tests.config.loading import NEW, OLD, load, own_type, refusals
from tests.config.told import told


class NamingParams(Params, frozen=True):
    other: Annotated[PluginName | None, Meta(description="Another plugin.")] = None
    size: int = 0


class Naming(Scorer):
    """Names another plugin, and remembers which were there when it was made."""

    def __init__(self, params: NamingParams, handle: Handle) -> None:
        if params.size < 0:
            raise ParameterError("size", "must not be negative")
        if params.size > 99:
            raise ParameterError("", "is too large altogether")
        self.params = params
        self.made_before = list(handle.plugins)

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [0.0] * len(endpoints)


NAMING = own_type("naming", Naming, NamingParams, Naming)


def naming(**others: str) -> str:
    entries = [
        f"- {{type: naming, name: {name}, parameters: {{{parameters}}}}}\n"
        for name, parameters in others.items()
    ]
    return "plugins:\n" + "".join(entries)


def made(loaded: LoadedConfig, name: str) -> Naming:
    plugin = loaded.entries[name].plugin
    assert isinstance(plugin, Naming)
    return plugin


def test_a_plugin_is_made_after_those_that_it_names_and_keeps_its_place() -> None:
    loaded = load(naming(a="other: c", b="", c="other: d", d=""), NAMING)
    assert list(loaded.entries)[:4] == ["a", "b", "c", "d"]
    assert {"c", "d"} <= set(made(loaded, "a").made_before)
    assert made(loaded, "c").made_before == ["d"]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            naming(a="other: a"),
            ["f:2: plugins[0].parameters.other: plugins name each other: a -> a"],
        ),
        (
            naming(a="other: b", b="other: c", c="other: b"),
            ["f:4: plugins[2].parameters.other: plugins name each other: b -> c -> b"],
        ),
        (
            naming(a="other: zz", b=""),
            [
                "f:2: plugins[0].parameters.other: zz is a reference to an undefined Plugin; "
                "there are a, b"
            ],
        ),
        (naming(a="other: b", b="size: -1"), ["f:3: plugins[1].parameters.size: must not be ne"]),
        (naming(a="size: 100"), ["f:2: plugins[0].parameters: is too large altogether"]),
        (
            naming(**{f"n{i}": f"other: n{i + 1}" for i in range(60)}, n60=""),
            ["f:52: plugins[50].parameters.other: more than 50 plugins name each the next"],
        ),
        (
            "plugins:\n- {type: disagg-profile-handler, parameters: {deciders: {prefill: x}}}\n"
            "- {type: always-disagg-pd-decider, name: x, foo: 1}",
            ['f:3: plugins[1].foo: unknown field "foo"'],
        ),
        (
            "plugins:\n- {type: disagg-profile-handler, parameters: {deciders: {prefill: "
            "always-disagg-pd-decider}}}\n- {type: always-disagg-pd-decider, name: x}",
            [
                "f:2: plugins[0].parameters.deciders.prefill: always-disagg-pd-decider is a "
                "reference to an undefined Plugin; the one of this type is called 'x'"
            ],
        ),
        (naming(a="other: 7"), ["f:2: plugins[0].parameters.other: "]),
        ("plugins: [{}]", ["f:1: plugins[0]: plugin definition for '' is missing a type"]),
        (
            "plugins:\n- type: queue-scorer\n- type: queue-scorer",
            ["f:3: plugins[1]: plugin name 'queue-scorer' used more than once"],
        ),
        (
            "plugins: [{type: queue-scorre}]",
            [
                "f:1: plugins[0].type: plugin type 'queue-scorre' is not found in registry; did "
                "you mean 'queue-scorer'?"
            ],
        ),
        (
            "plugins: [{type: latency-scorer}]",
            [
                "f:1: plugins[0].type: plugin type 'latency-scorer' cannot be used: it needs "
                "predictions of latency, which this version does not make"
            ],
        ),
    ],
)
def test_a_wrong_declaration_is_refused_once(text: str, problems: list[str]) -> None:
    found = refusals(text, NAMING)
    assert len(found) == len(problems)
    assert all(told.startswith(problem) for told, problem in zip(found, problems, strict=True))


@pytest.mark.parametrize("group", [OLD, NEW])
def test_an_experimental_type_needs_a_flag_and_its_parameters_are_read_all_the_same(
    group: str,
) -> None:
    text = group + "plugins: [{type: session-affinity-scorer, parameters: {PARAMETERS}}]"
    right, wrong = text.replace("{PARAMETERS}", "{}"), text.replace("{PARAMETERS}", "[1]")
    assert refusals(right) == [
        "f:3: plugins[0].type: plugin 'session-affinity-scorer' (type: 'session-affinity-scorer') "
        "has Alpha stability level, but command line flag --allow-experimental-plugins is not set"
    ]
    assert len(refusals(wrong)) == 2
    load(right, allow_experimental=True)


@pytest.mark.parametrize(
    ("declared", "notice"),
    [
        ("tokenizer", "tokenizer is deprecated, use token-producer"),
        ("by-label-selector", "by-label-selector is deprecated, use label-selector-filter"),
        (
            "prefill-header-handler",
            "prefill-header-handler is deprecated, use disagg-profile-handler, which sets these "
            "headers itself",
        ),
    ],
)
def test_an_older_name_of_a_type_is_deprecated(declared: str, notice: str) -> None:
    text = f"plugins: [{{type: {declared}}}]"
    loaded = load(text, allow_experimental=True)
    assert f"f:1: plugins[0].type: {notice}" in told(loaded.findings, Severity.WARNING)


BASE = naming(a="other: b", b="other: c", c="size: 1", d="size: 1")


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (BASE, "abcd"),
        ("# a comment\n" + BASE, "abcd"),
        (naming(d="size: 1", c="size: 1", b="other: c", a="other: b"), "abcd"),
        (naming(a="other: b", b="other: c", c="size: 2", d="size: 1"), "d"),
        (naming(a="other: b", b="other: d", c="size: 1", d="size: 1"), "cd"),
        (naming(a="other: b, size: 3", b="other: c", c="size: 1", d=""), "bc"),
        (naming(a="", c="size: 1", e=""), "c"),
        (naming(d="SIZE: 1"), "d"),
    ],
)
def test_what_is_unchanged_is_kept_and_what_names_something_new_is_not(
    after: str, kept: str
) -> None:
    before = load(BASE, NAMING)
    loaded = load(after, NAMING, before)
    same = [
        name
        for name, entry in loaded.entries.items()
        if name in before.entries and len(name) == 1 and entry.plugin is before.entries[name].plugin
    ]
    assert sorted(same) == list(kept)


def test_plugins_added_by_default_are_kept_as_well() -> None:
    before = load("plugins: [{type: prefix-cache-scorer}]")
    loaded = load("plugins: [{type: queue-scorer}, {type: prefix-cache-scorer}]", None, before)
    for name in ("prefix-cache-scorer", "prefix-cache-scorer-index", "max-score-picker"):
        assert loaded.entries[name].plugin is before.entries[name].plugin


def test_a_plugin_of_a_changed_type_is_made_anew() -> None:
    before = load(BASE, NAMING)
    loaded = load(BASE, own_type("naming", Naming, NamingParams, Naming), before)
    assert all(loaded.entries[n].plugin is not before.entries[n].plugin for n in "abcd")


def test_a_refused_configuration_leaves_the_one_before_as_it_was() -> None:
    before = load(BASE, NAMING)
    plugins = list(before.plugins)
    with pytest.raises(Exception, match="zz"):
        load(naming(a="other: zz", b="other: c"), NAMING, before)
    assert before.plugins == plugins


class BrokenKeys(Naming):
    @property
    def consumes(self) -> Sequence[DataKey[int]]:
        raise RuntimeError("no keys\nat all")


class BrokenRules(Params, frozen=True):
    def problems(self) -> list[tuple[str, str]]:
        raise RuntimeError("no rules")


class BrokenHints(Params, frozen=True):
    def hints(self) -> list[tuple[str, str]]:
        raise RuntimeError("no hints")


def _raise(_params: Params, _handle: Handle) -> Plugin:
    raise ZeroDivisionError("division by zero")


def _nothing(_params: Params, _handle: Handle) -> Plugin:
    return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (own_type("mine", Naming, NoParams, _raise), "ZeroDivisionError: division by zero"),
        (own_type("mine", Naming, NoParams, _nothing), "AttributeError: "),
        (own_type("mine", BrokenKeys, NamingParams, BrokenKeys), "RuntimeError: no keys at all"),
        (own_type("mine", Naming, BrokenRules), "RuntimeError: no rules"),
        (own_type("mine", Naming, BrokenHints), "RuntimeError: no hints"),
    ],
)
def test_a_plugin_of_ones_own_that_raises_is_a_finding(
    own: dict[str, PluginType], reason: str
) -> None:
    (problem,) = refusals("plugins:\n- type: mine\n", own)
    assert problem.startswith(f"f:2: plugins[0]: mine of own.py cannot be made: {reason}")


def test_a_built_in_plugin_that_raises_is_a_programming_error() -> None:
    with pytest.raises(ZeroDivisionError):
        load("plugins: [{type: mine}]", own_type("mine", Naming, NoParams, _raise, origin=""))
