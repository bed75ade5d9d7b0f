from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, field

from epp.config.findings import Findings, Places, Severity
from epp.config.parameters import plugin_names, read_parameters
from epp.core.plugin import NoParams, Params, Plugin, PluginName, PositiveDuration
from tests.config.loading import own_type
from tests.config.told import errors, told


class Inner(msgspec.Struct, frozen=True, rename="camel"):
    who_decides: PluginName | None = None
    max_size: Annotated[int, Meta(ge=1)] = 1


class Item(msgspec.Struct, frozen=True, rename="camel"):
    metric_name: str
    below: Inner | None = None


class SomeParams(Params, frozen=True):
    need_it: int
    one_more: Annotated[int, Meta(ge=0)] = 3
    pause: PositiveDuration | None = None
    inner: Inner | None = None
    items: tuple[Item, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    share: float = 0.0
    who: PluginName | None = None

    def problems(self) -> Iterable[tuple[str, str]]:
        if self.one_more > 9:
            yield "oneMore", "must be below 10"

    def hints(self) -> Iterable[tuple[str, str]]:
        if self.one_more == 9:
            yield "oneMore", "is hardly meant"


SOME = own_type("some", Plugin, SomeParams)["some"]
NONE = own_type("none", Plugin, NoParams)["none"]


def read(value: object, *, is_strict: bool = False) -> tuple[Params | None, list[str]]:
    """The parameters, and what is said about them."""
    findings = Findings(Places("f", {}))
    return read_parameters(value, SOME, "$.p", findings, is_strict=is_strict), told(findings.all)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"needIt": 1}, SomeParams(1)),
        ({"needIt": 2**63 - 1, "share": 1e308}, SomeParams(2**63 - 1, share=1e308)),
        ({"needIt": -(2**63)}, SomeParams(-(2**63))),
        ({"NEEDIT": 1, "onemore": 2}, SomeParams(1, 2)),
        ({"needit": 1, "pause": "200ms"}, SomeParams(1, pause=PositiveDuration(0.2))),
        ({"needIt": 1, "oneMore": None, "pause": None, "inner": None}, SomeParams(1)),
        (
            {"needIt": 1, "INNER": {"WHODECIDES": "me", "maxsize": 5}},
            SomeParams(1, inner=Inner(PluginName("me"), 5)),
        ),
        ({"needIt": 1, "inner": {"maxSize": None}}, SomeParams(1, inner=Inner())),
        (
            {"needIt": 1, "items": [{"METRICNAME": "a", "Below": {"MaxSize": 2}}]},
            SomeParams(1, items=(Item("a", Inner(max_size=2)),)),
        ),
        ({"needIt": 1, "labels": {"Some.Key": "v"}}, SomeParams(1, labels={"Some.Key": "v"})),
        ({"needIt": 1, "needit": 2}, SomeParams(2)),
    ],
)
@pytest.mark.parametrize("is_strict", [False, True])
def test_keys_are_matched_in_any_case_at_every_depth(
    value: object, expected: SomeParams, *, is_strict: bool
) -> None:
    assert read(value, is_strict=is_strict) == (expected, [])


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        (None, ["f:1: p: `needIt` is required"]),
        ({}, ["f:1: p: `needIt` is required"]),
        ({"needIt": None}, ["f:1: p.needIt: Expected `int`, got `null`"]),
        ([1], ["f:1: p: expected a mapping of parameters", "f:1: p: `needIt` is required"]),
        (
            {"oneMore": -1, "pause": "0s", "inner": {"maxSize": 0, "whoDecides": 1}},
            [
                "f:1: p.oneMore: Expected `int` >= 0",
                "f:1: p.pause: expected a duration above 0 such as 200ms",
                "f:1: p.inner.maxSize: Expected `int` >= 1",
                "f:1: p.inner.whoDecides: expected the name of a plugin",
                "f:1: p: `needIt` is required",
            ],
        ),
        (
            {"needIt": 1, "items": [{"metricName": "a"}, {"below": {"maxSize": "x"}}]},
            [
                "f:1: p.items[1].below.maxSize: Expected `int`, got `str`",
                "f:1: p.items[1]: `metricName` is required",
            ],
        ),
        ({"needIt": 1, "labels": {"a": 1}}, ["f:1: p.labels: Expected `str`, got `int`"]),
        ({"needIt": 1, "oneMore": 10}, ["f:1: p.oneMore: must be below 10"]),
        ({"needIt": 2**63}, ["f:1: p.needIt: expected at most 64 bits"]),
        ({"needIt": -(2**63) - 1}, ["f:1: p.needIt: expected at most 64 bits"]),
        ({"needIt": 1, "share": float("inf")}, ["f:1: p.share: expected a finite number"]),
        ({"needIt": 1, "share": float("-inf")}, ["f:1: p.share: expected a finite number"]),
        ({"needIt": 1, "share": float("nan")}, ["f:1: p.share: expected a finite number"]),
    ],
)
def test_every_parameter_that_does_not_fit_is_an_error(value: object, problems: list[str]) -> None:
    params, found = read(value)
    assert params is None
    assert [line.partition(": YAML reads")[0] for line in found] == problems


UNKNOWN = {"needIt": 1, "onMore": 1, "inner": {"nope": 1}, "items": [{"metricName": "a", "x": 1}]}


def test_unknown_keys_are_errors_where_that_is_strict() -> None:
    params, found = read(UNKNOWN, is_strict=True)
    assert params is None
    assert found == [
        "f:1: p.onMore: unknown field \"onMore\", no parameter of some; did you mean 'oneMore'?",
        'f:1: p.inner.nope: unknown field "nope", no parameter of some; '
        "there are maxSize, whoDecides",
        'f:1: p.items[0].x: unknown field "x", no parameter of some; there are below, metricName',
    ]


def test_unknown_keys_are_warnings_where_that_is_lenient() -> None:
    params, found = read(UNKNOWN)
    assert params == SomeParams(1, inner=Inner(), items=(Item("a"),))
    assert found == [
        "f:1: p.onMore: some ignores this parameter; did you mean 'oneMore'?",
        "f:1: p.inner.nope: some ignores this parameter; there are maxSize, whoDecides",
        "f:1: p.items[0].x: some ignores this parameter; there are below, metricName",
    ]


def test_what_is_hardly_meant_is_a_warning() -> None:
    params, found = read({"needIt": 1, "oneMore": 9})
    assert params == SomeParams(1, 9)
    assert found == ["f:1: p.oneMore: is hardly meant"]


@pytest.mark.parametrize(
    ("value", "lenient", "strict"),
    [
        (None, [], []),
        ({}, [], []),
        ([1], ["f:1: p: none ignores its parameters"], ["f:1: p: expected a mapping of pa"]),
        ("x", ["f:1: p: none ignores its parameters"], ["f:1: p: expected a mapping of pa"]),
        ({"a": 1}, ["f:1: p.a: none ignores this parameter"], ['f:1: p.a: unknown field "a"']),
    ],
)
def test_a_plugin_that_takes_none_is_given_anything_leniently(
    value: object, lenient: list[str], strict: list[str]
) -> None:
    for is_strict, expected in ((False, lenient), (True, strict)):
        findings = Findings(Places("f", {}))
        params = read_parameters(value, NONE, "$.p", findings, is_strict=is_strict)
        assert (params is None) == bool(is_strict and expected)
        for found, start in zip(told(findings.all), expected, strict=True):
            assert found.startswith(start)


def test_the_plugins_that_parameters_name_are_found_at_every_depth() -> None:
    params = SomeParams(1, inner=Inner(PluginName("a")), who=PluginName("b"))
    assert list(plugin_names(params)) == [("inner.whoDecides", "a"), ("who", "b")]
    assert list(plugin_names(SomeParams(1, who=PluginName("")))) == []


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["needIt", "PAUSE", "inner", "items", "metricName", "below", "labels"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(VALUES, st.booleans())
def test_any_parameters_are_read_or_refused(value: object, is_strict: bool) -> None:
    findings = Findings(Places("f", {}))
    params = read_parameters(value, SOME, "$.p", findings, is_strict=is_strict)
    assert (params is None) == bool(errors(findings.all))
    assert told(findings.all, Severity.NOTE) == []
