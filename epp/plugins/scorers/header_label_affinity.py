"""``header-label-affinity-scorer``: send the request where a label is what a header says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest, header_text


class HeaderLabelAffinityScorerParams(Params, frozen=True):
    """What is compared."""

    header_name: Annotated[str, Meta(min_length=1, description="The request's header.")]
    label_key: Annotated[str, Meta(min_length=1, description="The endpoints' label.")]


@plugin(
    "header-label-affinity-scorer",
    params=HeaderLabelAffinityScorerParams,
    stability=Stability.ALPHA,
)
class HeaderLabelAffinityScorer(Scorer):
    """Prefer endpoints whose label has the header's value.

    score = 1.0 where they are equal, otherwise 0.0; 0.0 everywhere without the header.

    Source: llm-d-router v0.10, scheduling/scorer/headerlabelaffinity.
    """

    def __init__(self, params: HeaderLabelAffinityScorerParams, handle: Handle) -> None:
        self._header = params.header_name.lower()
        self._label = params.label_key

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        wanted = header_text(request.headers, self._header)
        if not wanted:
            return [0.0] * len(endpoints)
        label = self._label
        return [1.0 if e.labels.get(label) == wanted else 0.0 for e in endpoints]
