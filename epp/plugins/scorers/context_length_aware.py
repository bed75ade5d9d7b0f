"""``context-length-aware``: send the request where its length is what an endpoint is for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from epp.core.data import TOKENIZED_PROMPT, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Scorer, Stability, plugin
from epp.core.request import InferenceRequest

UNLABELLED = 0.5
BEST_OUTSIDE = 0.3
KNOWN_RANGES = 1024
MOST_DIGITS = 18


class ContextLengthAwareParams(Params, frozen=True):
    """Where the ranges are, and whether they bind."""

    label: Annotated[str, Meta(min_length=1, description="The label with the range.")] = (
        "llm-d.ai/context-length-range"
    )
    enable_filtering: Annotated[bool, Meta(description="Whether to remove the others.")] = False


@plugin("context-length-aware", params=ContextLengthAwareParams, stability=Stability.BETA)
class ContextLengthAware(Scorer, Filter):
    """Prefer narrow ranges round the prompt's length, and room above it.

    The label says ``min-max``, in tokens, both inclusive; width = max - min:

    * inside, score = 0.3 + 0.7 x (0.7 / (1 + width / 10000) + 0.3 x (max - length) / width), or 1.0
      where the width is 0;
    * outside, score = 0.3 / (1 + distance / 1000);
    * 0.5 without the label, 0.0 with a malformed one.

    With ``enableFiltering`` it keeps, as a filter, those inside and those without the label, and
    nobody when nobody is; otherwise it keeps all. A request without tokens has the length 0.

    Source: llm-d-router v0.10, scheduling/scorer/contextlengthaware.
    """

    def __init__(self, params: ContextLengthAwareParams, handle: Handle) -> None:
        self._label = params.label
        self._filters = params.enable_filtering
        self._key = TOKENIZED_PROMPT.of()
        self._range = lru_cache(KNOWN_RANGES)(_range)

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        length = self._length(request)
        scores: dict[str | None, float] = {None: UNLABELLED}
        column = []
        for endpoint in endpoints:
            text = endpoint.labels.get(self._label)
            score = scores.get(text)
            if score is None:
                known = None if text is None else self._range(text)
                score = scores[text] = 0.0 if known is None else known.score(length)
            column.append(score)
        return column

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        if not self._filters:
            return endpoints
        length = self._length(request)
        kept = []
        for endpoint in endpoints:
            text = endpoint.labels.get(self._label)
            known = None if text is None else self._range(text)
            if text is None or (known is not None and known.low <= length <= known.high):
                kept.append(endpoint)
        return kept

    def _length(self, request: InferenceRequest) -> int:
        prompt = request.data.get(self._key)
        return 0 if prompt is None else prompt.token_count


class _Range(NamedTuple):
    low: int
    high: int

    def score(self, length: int) -> float:
        if length < self.low:
            return BEST_OUTSIDE / (1 + (self.low - length) / 1000)
        if length > self.high:
            return BEST_OUTSIDE / (1 + (length - self.high) / 1000)
        width = self.high - self.low
        if not width:
            return 1.0
        fit = 0.7 / (1 + width / 10000) + 0.3 * (self.high - length) / width
        return BEST_OUTSIDE + (1 - BEST_OUTSIDE) * fit


def _range(text: str) -> _Range | None:
    """What a label says; None where it is malformed."""
    bounds = [part.strip() for part in text.split("-")]
    are_numbers = all(b.isascii() and b.isdigit() and len(b) <= MOST_DIGITS for b in bounds)
    if len(bounds) != 2 or not are_numbers or int(bounds[0]) > int(bounds[1]):
        return None
    return _Range(int(bounds[0]), int(bounds[1]))
