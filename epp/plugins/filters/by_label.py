"""``by-label``: keep the endpoints whose label has one of some values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest


class ByLabelParams(Params, frozen=True):
    """The label, and what it may be."""

    label: Annotated[str, Meta(min_length=1, description="Its key.")]
    valid_values: Annotated[tuple[str, ...], Meta(description="What it may be.")] = ()
    allows_no_label: Annotated[bool, Meta(description="Whether it may be absent.")] = False

    def problems(self) -> Iterable[tuple[str, str]]:
        if not self.valid_values and not self.allows_no_label:
            yield "validValues", "expected at least one unless allowsNoLabel"


@plugin(
    "by-label",
    params=ByLabelParams,
    stability=Stability.BETA,
    deprecated="use label-selector-filter",
)
class ByLabel(Filter):
    """Keep the endpoints whose label has a listed value, or, where allowed, is absent.

    Source: llm-d-router v0.10, scheduling/filter/bylabel/filter.go.
    """

    def __init__(self, params: ByLabelParams, handle: Handle) -> None:
        self._label = params.label
        self._values: frozenset[str | None] = frozenset(params.valid_values)
        if params.allows_no_label:
            self._values |= {None}

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        return [e for e in endpoints if e.labels.get(self._label) in self._values]
