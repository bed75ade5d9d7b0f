"""``max-score-picker``: the highest total wins, ties are broken at random."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Picker, Stability, plugin
from epp.plugins.pickers.params import PickerParams


@plugin("max-score-picker", params=PickerParams, stability=Stability.BETA)
class MaxScorePicker(Picker):
    """Pick the endpoints with the highest totals.

    Source: gateway-api-inference-extension 2aaf2a6, picker/max_score_picker.go.
    """

    def __init__(self, params: PickerParams, handle: Handle) -> None:
        self._limit = params.limit
        self._random = handle.random

    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        if self._limit == 1:
            best = max(totals)
            if totals.count(best) == 1:
                return (endpoints[totals.index(best)],)
            return [
                self._random.choice(
                    [e for e, t in zip(endpoints, totals, strict=True) if t == best]
                )
            ]
        order = list(range(len(endpoints)))
        self._random.shuffle(order)
        order.sort(key=totals.__getitem__, reverse=True)
        return [endpoints[i] for i in order[: self._limit]]
