"""``label-selector-filter``: keep the endpoints that a label selector matches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest
from epp.core.selector import LabelExpression, LabelSelector


class LabelSelectorFilterParams(Params, frozen=True):
    """A Kubernetes label selector."""

    match_labels: Annotated[Mapping[str, str], Meta(description="Labels it must have.")] = {}
    match_expressions: Annotated[
        tuple[LabelExpression, ...], Meta(description="What its labels must fulfil.")
    ] = ()

    @property
    def selector(self) -> LabelSelector:
        """Both together."""
        return LabelSelector(self.match_labels, self.match_expressions)

    def problems(self) -> Iterable[tuple[str, str]]:
        return self.selector.problems()


@plugin(
    "label-selector-filter",
    params=LabelSelectorFilterParams,
    stability=Stability.BETA,
    aliases=("by-label-selector",),
)
class LabelSelectorFilter(Filter):
    """Keep the endpoints whose labels match; an empty selector matches all.

    Source: llm-d-router v0.10, scheduling/filter/bylabel/selector.go.
    """

    def __init__(self, params: LabelSelectorFilterParams, handle: Handle) -> None:
        self._selector = params.selector.compiled()

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        return [e for e in endpoints if self._selector.matches(e.labels)]
