"""``probabilistic-admitter``: refuse ever more sheddable requests as the pool fills up."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import Annotated

from msgspec import Meta

from epp.core.endpoint import Endpoint
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import Admitter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest


class ProbabilisticAdmitterParams(Params, frozen=True):
    """What counts as full, and how fast refusals grow on the way there."""

    queue_depth_threshold: Annotated[float, Meta(gt=0, description="Waiting requests.")] = 5.0
    kv_cache_util_threshold: Annotated[float, Meta(gt=0, description="Part in use.")] = 0.8
    power: Annotated[float, Meta(gt=0, description="How late refusals begin.")] = 5.0
    k: Annotated[float, Meta(gt=0, description="How steeply they rise.")] = 300.0


@plugin("probabilistic-admitter", params=ProbabilisticAdmitterParams, stability=Stability.BETA)
class ProbabilisticAdmitter(Admitter):
    """Refuse a request with a negative priority with a probability that grows with saturation.

    saturation = mean over the endpoints of max(queue / threshold, KV cache / threshold), 1 for one
    that never reported; probability = min(saturation ^ power x k, 1).

    Differs: the refusal is 429, which upstream's framework turns into 500.

    Source: llm-d-router v0.10, requestcontrol/admitter/probabilistic.
    """

    def __init__(self, params: ProbabilisticAdmitterParams, handle: Handle) -> None:
        self._queue_depth = params.queue_depth_threshold
        self._kv_cache_ratio = params.kv_cache_util_threshold
        self._power = params.power
        self._log_k = log(params.k)
        self._random = handle.random

    def admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        if not request.is_sheddable or not endpoints:
            return
        saturation = sum(map(self._fullness, endpoints)) / len(endpoints)
        probability = self._probability(saturation)
        if self._random.random() < probability:
            raise ResourceExhaustedError(
                "probabilistic-admitter: rejected, "
                f"saturation={saturation:.3f} prob={probability:.2f}"
            )

    def _fullness(self, endpoint: Endpoint) -> float:
        metrics = endpoint.metrics
        if metrics.updated_at is None:
            return 1.0
        return max(
            metrics.waiting_queue_size / self._queue_depth,
            metrics.kv_cache_ratio / self._kv_cache_ratio,
        )

    def _probability(self, saturation: float) -> float:
        if saturation <= 0:
            return 0.0
        # In logarithms, because a long queue to a high power is no float any more.
        exponent = self._power * log(saturation) + self._log_k
        return 1.0 if exponent >= 0 else exp(exponent)
