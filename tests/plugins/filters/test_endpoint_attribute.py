from __future__ import annotations

from typing import Any

import msgspec
import pytest

from epp.plugins.filters.endpoint_attribute import (
    EndpointAttributeFilter,
    EndpointAttributeFilterParams,
)
from tests.fakes import make_endpoint, make_handle, make_request

ENDPOINTS = [
    make_endpoint(name, attributes={"depth/core-metrics-extractor": value, "gpu/mine": -value})
    for name, value in (("one", 1.0), ("two", 2.0), ("three", 3.0))
] + [make_endpoint("without")]


def params(
    operator: str = "LessThan", value: float = 2, **fields: Any
) -> EndpointAttributeFilterParams:
    algorithm = {"type": "threshold", "threshold": {"operator": operator, "value": value}}
    fields = {"attribute": "depth", "algorithm": algorithm, **fields}
    return msgspec.convert(fields, EndpointAttributeFilterParams)


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        (params("LessThan"), ["one", "without"]),
        (params("LessThanOrEqual"), ["one", "two", "without"]),
        (params("GreaterThan"), ["three", "without"]),
        (params("GreaterThanOrEqual"), ["two", "three", "without"]),
        (params("Equal"), ["two", "without"]),
        (params("NotEqual"), ["one", "three", "without"]),
        (params("LessThan", onMissing="Fail"), ["one"]),
        (params("LessThan", -2, attribute="gpu", producer="mine"), ["three", "without"]),
        (params("LessThan", 0, onMissing="Fail"), []),
        (
            params("LessThan", 0, onMissing="Fail", fallbackOnEmpty=True),
            ["one", "two", "three", "without"],
        ),
        (params("LessThan", 1, attribute="WaitingQueueSize", onMissing="Fail"), None),
    ],
)
def test_those_that_compare_as_they_must_are_kept(
    chosen: EndpointAttributeFilterParams, kept: list[str] | None
) -> None:
    plugin = EndpointAttributeFilter(chosen, make_handle())
    everybody = [e.name for e in ENDPOINTS]
    found = [e.name for e in plugin.filter(make_request(None), ENDPOINTS)]
    assert found == (everybody if kept is None else kept)


@pytest.mark.parametrize("attribute", ["", "depth/mine"])
def test_an_attribute_that_cannot_be_meant_is_told(attribute: str) -> None:
    assert [place for place, _ in params(attribute=attribute).problems()] == ["attribute"]
    assert list(params().problems()) == []


def test_there_must_be_a_threshold() -> None:
    with pytest.raises(msgspec.ValidationError, match="threshold"):
        msgspec.convert(
            {"attribute": "a", "algorithm": {"type": "threshold"}}, EndpointAttributeFilterParams
        )
