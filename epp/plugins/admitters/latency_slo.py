"""``latency-slo-admitter``: refuse sheddable requests that nobody would answer fast enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import LATENCY_PREDICTIONS, DataKey
from epp.core.endpoint import Endpoint
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import Admitter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest
from epp.core.slo import TPOT_HEADERS, TTFT_HEADERS, slo_ms

COLD_KV_CACHE_RATIO = 0.02


class LatencySloAdmitterParams(Params, frozen=True):
    """Whose predictions count."""

    latency_prediction_info_producer_name: Annotated[str, Meta(description="Who predicts.")] = ""


@plugin("latency-slo-admitter", params=LatencySloAdmitterParams, stability=Stability.BETA)
class LatencySloAdmitter(Admitter):
    """Refuse a request with a negative priority whose objectives nobody is predicted to meet.

    It is admitted all the same where nothing is predicted, and where an endpoint reports that it
    runs nothing, or that its KV cache is less than 2 % full.

    Differs: the refusal is 429, which upstream's framework turns into 500; and an objective that
    the client did not set cannot be missed, where upstream takes it for 0 ms.

    Source: llm-d-router v0.10, requestcontrol/admitter/latencyslo.
    """

    def __init__(self, params: LatencySloAdmitterParams, handle: Handle) -> None:
        self._key = LATENCY_PREDICTIONS.of(params.latency_prediction_info_producer_name)

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        return (self._key,)

    def admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        if not request.is_sheddable:
            return
        has_ttft = slo_ms(request.headers, TTFT_HEADERS) > 0
        has_tpot = slo_ms(request.headers, TPOT_HEADERS) > 0
        if not has_ttft and not has_tpot:
            return
        known = request.data.get(self._key) or {}
        predictions = [known[e.id] for e in endpoints if e.id in known]
        if not predictions or any(map(_is_idle_or_cold, endpoints)):
            return
        for prediction in predictions:
            meets_ttft = not has_ttft or prediction.ttft_headroom_ms >= 0
            meets_tpot = not has_tpot or prediction.tpot_headroom_ms >= 0
            if meets_ttft and meets_tpot:
                return
        raise ResourceExhaustedError("no valid endpoint available to serve the request")


def _is_idle_or_cold(endpoint: Endpoint) -> bool:
    """As far as it reports at all."""
    metrics = endpoint.metrics
    return metrics.updated_at is not None and (
        metrics.running_requests == 0 or metrics.kv_cache_ratio < COLD_KV_CACHE_RATIO
    )
