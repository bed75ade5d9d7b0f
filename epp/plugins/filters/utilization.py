"""``utilization-filter``: keep the endpoints that are within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from epp.core.data import IN_FLIGHT_LOAD, DataKey, InFlightLoad
from epp.core.endpoint import Endpoint
from epp.core.plugin import Filter, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest

NOTHING = InFlightLoad({}, {})


class UtilizationMetric(StrEnum):
    """What can be limited."""

    ACTIVE_REQUESTS = "active-requests"
    RUNNING_REQUESTS = "running-requests"
    WAITING_QUEUE = "waiting-queue"
    KV_CACHE_UTILIZATION = "kv-cache-utilization"


READERS: dict[UtilizationMetric, Callable[[Endpoint, InFlightLoad], float]] = {
    UtilizationMetric.ACTIVE_REQUESTS: lambda e, load: load.requests.get(e.id, 0),
    UtilizationMetric.RUNNING_REQUESTS: lambda e, _: e.metrics.running_requests,
    UtilizationMetric.WAITING_QUEUE: lambda e, _: e.metrics.waiting_queue_size,
    UtilizationMetric.KV_CACHE_UTILIZATION: lambda e, _: e.metrics.kv_cache_ratio,
}


class UtilizationCondition(msgspec.Struct, frozen=True, rename="camel"):
    """An inclusive limit."""

    metric: UtilizationMetric
    max_value: Annotated[float, Meta(ge=0)]


class UtilizationFilterParams(Params, frozen=True):
    """The limits, and what happens when nobody is within them."""

    conditions: Annotated[
        tuple[UtilizationCondition, ...], Meta(description="All of them must hold.")
    ] = ()
    fallback_on_empty: Annotated[bool, Meta(description="Nobody left: keep all.")] = False
    in_flight_load_producer_name: Annotated[
        str, Meta(description="Who counts active requests.")
    ] = ""

    def hints(self) -> Iterable[tuple[str, str]]:
        if not self.conditions:
            yield "conditions", "without any, every endpoint is kept"

    def problems(self) -> Iterable[tuple[str, str]]:
        for i, condition in enumerate(self.conditions):
            is_ratio = condition.metric is UtilizationMetric.KV_CACHE_UTILIZATION
            if is_ratio and condition.max_value > 1:
                yield f"conditions[{i}].maxValue", "expected at most 1, the whole KV cache"


@plugin(
    "utilization-filter",
    params=UtilizationFilterParams,
    stability=Stability.ALPHA,
    aliases=("active-request-filter",),
)
class UtilizationFilter(Filter):
    """Keep the endpoints whose values are at most the limits.

    Active requests are those that this picker sent and that have not ended; the other values are
    what the model server reports.

    Source: llm-d-router v0.10, scheduling/filter/utilization/filter.go.
    """

    def __init__(self, params: UtilizationFilterParams, handle: Handle) -> None:
        self._limits = [(READERS[c.metric], c.max_value) for c in params.conditions]
        self._falls_back = params.fallback_on_empty
        self._key = IN_FLIGHT_LOAD.of(params.in_flight_load_producer_name)
        self._needs_load = any(
            c.metric is UtilizationMetric.ACTIVE_REQUESTS for c in params.conditions
        )

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return (self._key,) if self._needs_load else ()

    def filter(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        load = request.data.get(self._key) or NOTHING
        kept = [e for e in endpoints if all(read(e, load) <= at for read, at in self._limits)]
        return endpoints if self._falls_back and not kept else kept
