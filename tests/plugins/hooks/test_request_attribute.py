from __future__ import annotations

from typing import Any

import msgspec
import pytest

from epp.core.decision import SchedulingResult
from epp.core.errors import ParameterError
from epp.core.request import Usage
from epp.core.response import Metadata, ResponseEnd
from epp.plugins.hooks.request_attribute import (
    RequestAttributeReporter,
    RequestAttributeReporterParams,
    import_cel,
)
from tests.fakes import endpoints, make_handle, make_request, make_run

MEMBERS = endpoints(0)
RESULT = SchedulingResult("p", {"p": make_run(*MEMBERS, picked=MEMBERS)})
USAGE = Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10, cached_tokens=4)


def make_reporter(expression: str, condition: str = "", **key: str) -> RequestAttributeReporter:
    attribute = {
        "key": {"name": "cost"} | key,
        "expression": expression,
        "condition": condition,
    }
    params = msgspec.convert({"attributes": [attribute]}, RequestAttributeReporterParams)
    return RequestAttributeReporter(params, make_handle())


def told(reporter: RequestAttributeReporter, usage: Usage | None = USAGE) -> list[Metadata]:
    return list(reporter.response_ended(make_request(None), RESULT, ResponseEnd(usage=usage)))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("usage.completion_tokens", 3.0),
        ("usage.prompt_tokens + 2 * usage.completion_tokens", 13.0),
        ("double(usage.total_tokens) / 4.0", 2.5),
        ("usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens", 3.0),
        ("usage.completion_tokens > 2 ? 1 : 0", 1.0),
        ("uint(usage.total_tokens)", 10.0),
        ("-1", -1.0),
    ],
)
def test_an_expression_makes_a_number_of_the_usage(expression: str, value: float) -> None:
    assert told(make_reporter(expression)) == [Metadata("envoy.lb", "cost", value)]


def test_the_namespace_can_be_chosen() -> None:
    reporter = make_reporter("usage.total_tokens", namespace="mine", name="n")
    assert told(reporter) == [Metadata("mine", "n", 10.0)]


@pytest.mark.parametrize(
    ("expression", "usage"),
    [
        ("usage.completion_tokens", None),
        ("usage.completion_tokens", Usage(prompt_tokens=7)),
        ("usage.completion_tokens - 3", USAGE),
        ("0.0", USAGE),
        ("double(usage.completion_tokens) / 0.0", USAGE),
    ],
)
def test_nothing_counted_and_nothing_finite_is_not_told(
    expression: str, usage: Usage | None
) -> None:
    assert told(make_reporter(expression), usage) == []


@pytest.mark.parametrize(
    ("condition", "is_told"),
    [
        ("", True),
        ("true", True),
        ("usage.completion_tokens > 2", True),
        ("usage.completion_tokens > 3", False),
        ("has(usage.reasoning_tokens)", False),
    ],
)
def test_a_condition_must_hold(condition: str, is_told: bool) -> None:
    assert bool(told(make_reporter("usage.total_tokens", condition))) is is_told


@pytest.mark.parametrize(
    ("expression", "condition", "key"),
    [
        ("usage.", "", "attributes[0].expression"),
        ("tokens", "", "attributes[0].expression"),
        ("'text'", "", "attributes[0].expression"),
        ("usage.total_tokens > 1", "", "attributes[0].expression"),
        ("usage", "", "attributes[0].expression"),
        ("1", "1", "attributes[0].condition"),
        ("1", "usage.total_tokens >", "attributes[0].condition"),
    ],
)
def test_what_makes_no_number_is_refused_at_start(
    expression: str, condition: str, key: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        make_reporter(expression, condition)
    assert raised.value.key == key


@pytest.mark.parametrize("expression", ["usage.unheard_of", "1 / 0", "usage.total_tokens * 2.0"])
def test_what_turns_out_wrong_later_is_an_error_of_the_plugin(expression: str) -> None:
    with pytest.raises(TypeError, match="CEL"):
        told(make_reporter(expression))


@pytest.mark.parametrize("count", [0, 2])
def test_there_is_exactly_one_attribute(count: int) -> None:
    attribute: dict[str, Any] = {"key": {"name": "n"}, "expression": "1"}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"attributes": [attribute] * count}, RequestAttributeReporterParams)


def test_without_the_package_the_extra_is_named() -> None:
    with pytest.raises(ParameterError, match=r"epp\[cel\]"):
        import_cel("cel_expr_python_that_is_not_there.cel")
