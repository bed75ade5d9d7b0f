"""``endpoint-attribute-filter``: keep the endpoints where a number of your choice is in bounds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta

from epp.core.attribute import Attribute, attribute_problem
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest


class OnMissing(StrEnum):
    """What happens to an endpoint without the attribute."""

    PASS = "Pass"
    FAIL = "Fail"


class Comparison(StrEnum):
    """What a value must be, compared with the threshold."""

    LESS_THAN = "LessThan"
    LESS_THAN_OR_EQUAL = "LessThanOrEqual"
    GREATER_THAN = "GreaterThan"
    GREATER_THAN_OR_EQUAL = "GreaterThanOrEqual"
    EQUAL = "Equal"
    NOT_EQUAL = "NotEqual"


COMPARE: Mapping[Comparison, Callable[[float, float], bool]] = {
    Comparison.LESS_THAN: operator.lt,
    Comparison.LESS_THAN_OR_EQUAL: operator.le,
    Comparison.GREATER_THAN: operator.gt,
    Comparison.GREATER_THAN_OR_EQUAL: operator.ge,
    Comparison.EQUAL: operator.eq,
    Comparison.NOT_EQUAL: operator.ne,
}


class Threshold(Params, frozen=True):
    """A comparison with a number."""

    operator: Comparison
    value: float


class FilteringAlgorithm(Params, frozen=True):
    """What tells the endpoints to keep."""

    type: Literal["threshold"]
    threshold: Threshold


class EndpointAttributeFilterParams(Params, frozen=True):
    """Which number, and what it must be."""

    attribute: Annotated[str, Meta(description="The attribute.")]
    algorithm: Annotated[FilteringAlgorithm, Meta(description="What a value must be.")]
    producer: Annotated[
        str | None, Meta(description="Who makes it: by default the usual metrics' one.")
    ] = None
    on_missing: Annotated[OnMissing, Meta(description="What a lack of it means.")] = OnMissing.PASS
    fallback_on_empty: Annotated[bool, Meta(description="Nobody left: keep all.")] = False

    def problems(self) -> Iterable[tuple[str, str]]:
        if problem := attribute_problem(self.attribute, self.producer):
            yield "attribute", problem


@plugin(
    "endpoint-attribute-filter", params=EndpointAttributeFilterParams, stability=Stability.ALPHA
)
class EndpointAttributeFilter(Filter):
    """Keep the endpoints whose attribute compares as it must.

    Source: llm-d-router v0.10, scheduling/filter/endpointattribute/filter.go.
    """

    def __init__(self, params: EndpointAttributeFilterParams, handle: Handle) -> None:
        self._attribute = Attribute(params.attribute, params.producer)
        self._passes_without = params.on_missing is OnMissing.PASS
        self._falls_back = params.fallback_on_empty
        self._compare = COMPARE[params.algorithm.threshold.operator]
        self._threshold = params.algorithm.threshold.value

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        kept = []
        for endpoint in endpoints:
            value = self._attribute.read(endpoint.metrics)
            if self._passes_without if value is None else self._compare(value, self._threshold):
                kept.append(endpoint)
        return endpoints if self._falls_back and not kept else kept
