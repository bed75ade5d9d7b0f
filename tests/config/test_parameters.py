from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from epp.config.document import read_document
from epp.config.findings import Findings
from epp.config.parameters import plugin_names, read_parameters
from epp.core.plugin import NoParams, Params, Plugin, PluginName, PluginType, Stability
from tests.config.told import told


class Inner(Struct, frozen=True, rename="camel"):
    some_name: PluginName | None = None
    how_many: Annotated[int, Meta(ge=1)] = 1


class SomeParams(Params, frozen=True):
    first_name: PluginName = PluginName("")
    inner: Inner = Inner()
    many: list[Inner] | None = None
    limit: int | None = None


class NeedyParams(Params, frozen=True):
    path: str


def declared(params: type[Params]) -> PluginType:
    return PluginType("t", params, Stability.BETA, lambda _params, _handle: Plugin(), Plugin)


def read(
    text: str, params: type[Params] = SomeParams, *, is_strict: bool = True
) -> tuple[Params | None, list[str]]:
    document = read_document(text, "c.yaml")
    findings = Findings(document.places)
    found = read_parameters(document.value, declared(params), "$", findings, is_strict=is_strict)
    return found, told(findings.all)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", SomeParams()),
        ("{}", SomeParams()),
        ("LIMIT: 3", SomeParams(limit=3)),
        ("limit: null", SomeParams()),
        ("inner: null\nfirstName: null", SomeParams()),
        ("INNER: {SOMENAME: x, howmany: 2}", SomeParams(inner=Inner(PluginName("x"), 2))),
        ("inner: {howMany: null}", SomeParams()),
        ("many: [{HOWMANY: 3}, {}]", SomeParams(many=[Inner(None, 3), Inner()])),
    ],
)
def test_keys_are_matched_in_any_case_and_null_is_nothing(text: str, expected: Params) -> None:
    assert read(text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("limits: 3", ['c.yaml:1: limits: unknown field "limits", no parameter of t; did']),
        ("inner:\n  howMany: 0", ["c.yaml:2: inner.howMany: Expected `int` >= 1"]),
        ("inner:\n  HOWMANY: 0", ["c.yaml:2: inner.howMany: Expected `int` >= 1"]),
        ("many:\n- {x: 1}\n- {howMany: y}", ["c.yaml:2: many[0].x", "c.yaml:3: many[1].howMany"]),
        ("inner: 7", ["c.yaml:1: inner: Expected `object`, got `int`"]),
        ("firstName: 7", ["c.yaml:1: firstName: expected the name of a plugin"]),
        ("inner: {a: 1, howMany: x}\nlimit: y", ["c.yaml:1: inner.a", "c.yaml:1: inner.howMany"]),
        ("[1]", ["c.yaml:1: expected a mapping of parameters"]),
        ("7", ["c.yaml:1: expected a mapping of parameters"]),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(text: str, problems: list[str]) -> None:
    params, found = read(text)
    assert params is None
    assert len(found) >= len(problems)
    assert all(one.startswith(start) for one, start in zip(found, problems, strict=False))


def test_unknown_keys_are_forgiven_leniently_at_every_depth() -> None:
    params, found = read("limit: 2\nfoo: 1\ninner: {bar: 2}", is_strict=False)
    assert params == SomeParams(limit=2)
    assert found == [
        "c.yaml:2: foo: t ignores this parameter; there are firstName, inner, limit, many",
        "c.yaml:3: inner.bar: t ignores this parameter; there are howMany, someName",
    ]


@pytest.mark.parametrize(
    ("text", "is_strict", "is_read"),
    [("[1]", False, True), ("7", False, True), ("a: 1", False, True), ("a: 1", True, False)],
)
def test_a_plugin_without_parameters_may_be_given_anything_leniently(
    text: str, is_strict: bool, is_read: bool
) -> None:
    params, found = read(text, NoParams, is_strict=is_strict)
    assert (params == NoParams()) == is_read
    assert len(found) == 1


@pytest.mark.parametrize("text", ["", "{}", "other: 1"])
def test_what_is_required_is_missed(text: str) -> None:
    params, found = read(text, NeedyParams, is_strict=False)
    assert params is None
    assert found[-1] == "c.yaml:1: `path` is required"


@pytest.mark.parametrize("value", ["null", "7"])
def test_null_is_no_value_where_one_is_required(value: str) -> None:
    params, (found,) = read(f"path: {value}", NeedyParams)
    assert params is None
    assert found.startswith("c.yaml:1: path: Expected `str`, got ")


def test_names_of_plugins_are_found_at_every_depth() -> None:
    params = SomeParams(PluginName("a"), Inner(PluginName("b")))
    expected: list[tuple[str, Any]] = [("firstName", "a"), ("inner.someName", "b")]
    assert list(plugin_names(params)) == expected
    assert list(plugin_names(SomeParams())) == []
