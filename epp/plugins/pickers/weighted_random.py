"""``weighted-random-picker``: a higher total is proportionally more likely."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Picker, Stability, plugin
from epp.plugins.pickers.params import PickerParams

SMALLEST_DRAW = 1e-10


@plugin("weighted-random-picker", params=PickerParams, stability=Stability.BETA)
class WeightedRandomPicker(Picker):
    """Pick without replacement, with chances in proportion to the totals.

    Every endpoint draws key = U^(1/total) with U uniform in (0, 1), a total of 0 or less draws 0;
    the highest keys win. Without any positive total all are equally likely.

    Source: Efraimidis and Spirakis 2006, algorithm A-Res; gateway-api-inference-extension 2aaf2a6,
    picker/weighted_random_picker.go.
    """

    def __init__(self, params: PickerParams, handle: Handle) -> None:
        self._limit = params.limit
        self._random = handle.random

    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        if max(totals) <= 0:
            return self._random.sample(endpoints, min(self._limit, len(endpoints)))
        order = list(range(len(endpoints)))
        self._random.shuffle(order)
        keys = [self._draw(total) for total in totals]
        order.sort(key=keys.__getitem__, reverse=True)
        return [endpoints[i] for i in order[: self._limit]]

    def _draw(self, total: float) -> float:
        uniform = self._random.random() or SMALLEST_DRAW
        return float(uniform ** (1.0 / total)) if total > 0 else 0.0
