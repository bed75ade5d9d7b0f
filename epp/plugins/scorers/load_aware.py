"""``load-aware-scorer``: send the request where its wait is short, on a fixed scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest

IDLE = 0.5


class LoadAwareScorerParams(Params, frozen=True):
    """The end of the scale."""

    threshold: Annotated[int, Meta(gt=0, description="Waiting requests that give 0.")] = 128


@plugin("load-aware-scorer", params=LoadAwareScorerParams, stability=Stability.BETA)
class LoadAwareScorer(Scorer):
    """Prefer short queues, whatever those of the other candidates are.

    score = 0.5 x (1 - min(waiting, threshold) / threshold), so never more than 0.5.

    Source: llm-d-router v0.10, scheduling/scorer/loadaware.
    """

    def __init__(self, params: LoadAwareScorerParams, handle: Handle) -> None:
        self._threshold = params.threshold

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        end = self._threshold
        sizes = [e.metrics.waiting_queue_size for e in endpoints]
        return [IDLE * (1.0 - size / end) if size < end else 0.0 for size in sizes]
