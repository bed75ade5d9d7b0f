"""``random-picker``: any endpoint, scores do not matter."""

from __future__ import annotations

from collections.abc import Sequence

from epp.core.endpoint import Endpoint
from epp.core.plugin import Handle, Picker, Stability, plugin
from epp.plugins.pickers.params import PickerParams


@plugin("random-picker", params=PickerParams, stability=Stability.BETA)
class RandomPicker(Picker):
    """Pick uniformly at random.

    Source: gateway-api-inference-extension 2aaf2a6, picker/random_picker.go.
    """

    def __init__(self, params: PickerParams, handle: Handle) -> None:
        self._limit = params.limit
        self._random = handle.random

    def pick(self, endpoints: Sequence[Endpoint], totals: Sequence[float]) -> Sequence[Endpoint]:
        return self._random.sample(endpoints, min(self._limit, len(endpoints)))
