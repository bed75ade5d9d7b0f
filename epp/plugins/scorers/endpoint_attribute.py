"""``endpoint-attribute-scorer``: send the request where a number of your choice is best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from epp.core.attribute import Attribute, attribute_problem
from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


class Direction(StrEnum):
    """Which end of the range is the good one."""

    LOWER = "linear_lower_is_better"
    HIGHER = "linear_higher_is_better"


class FixedRange(Params, frozen=True):
    """The ends of the scale; what lies outside counts as the nearer end."""

    min: float
    max: float


class AdaptiveRange(Params, frozen=True):
    """The scale reaches from the least to the greatest value of the candidates."""


class Normalization(Params, frozen=True):
    """At most one of them; by default the scale adapts."""

    fixed_range: FixedRange | None = None
    adaptive_range: AdaptiveRange | None = None


class ScoringAlgorithm(Params, frozen=True):
    """What makes a score of a value."""

    type: Direction
    normalization: Normalization = Normalization()


class EndpointAttributeScorerParams(Params, frozen=True):
    """Which number, and what it is worth."""

    attribute_key: Annotated[str, Meta(description="The attribute.")]
    algorithm: Annotated[ScoringAlgorithm, Meta(description="What a value is worth.")]
    producer: Annotated[
        str | None, Meta(description="Who makes it: by default the usual metrics' one.")
    ] = None

    def problems(self) -> Iterable[tuple[str, str]]:
        if problem := attribute_problem(self.attribute_key, self.producer):
            yield "attributeKey", problem
        scale = self.algorithm.normalization
        if scale.fixed_range and scale.adaptive_range:
            yield "algorithm.normalization", "expected fixedRange or adaptiveRange, not both"
        if scale.fixed_range and not scale.fixed_range.min < scale.fixed_range.max:
            yield "algorithm.normalization.fixedRange", "expected min below max"


@plugin(
    "endpoint-attribute-scorer", params=EndpointAttributeScorerParams, stability=Stability.ALPHA
)
class EndpointAttributeScorer(Scorer):
    """Prefer low values of an attribute, or high ones.

    lower is better: score = (max - value) / (max - min); higher is better: the mirror image. The
    ends are fixed, or those of the candidates; all equal gives 1.0 then. 0.0 where it is missing.

    Source: llm-d-router v0.10, scheduling/scorer/endpointattribute.
    """

    def __init__(self, params: EndpointAttributeScorerParams, handle: Handle) -> None:
        self._attribute = Attribute(params.attribute_key, params.producer)
        self._is_lower_better = params.algorithm.type is Direction.LOWER
        self._fixed = params.algorithm.normalization.fixed_range

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        read = self._attribute.read
        values = [read(e.metrics) for e in endpoints]
        if self._fixed is not None:
            low, high = self._fixed.min, self._fixed.max
        else:
            known = [value for value in values if value is not None]
            low, high = (min(known), max(known)) if known else (0.0, 0.0)
        if low == high:
            return [0.0 if value is None else 1.0 for value in values]
        worst, best = (high, low) if self._is_lower_better else (low, high)
        span = best - worst
        # In this order what is no number, as ends far apart give, becomes 0.
        return [
            0.0 if value is None else min(1.0, max(0.0, (value - worst) / span)) for value in values
        ]
