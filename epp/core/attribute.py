"""Numbers about endpoints by their names: what extractors made, and the usual metrics.

The usual metrics are attributes of ``core-metrics-extractor``, under the names that they have in
the router: ``WaitingQueueSize``, ``RunningRequestsSize``, ``KVCacheUsagePercent`` (0..1, in spite
of its name), ``ActiveModels`` and ``WaitingModels`` (how many), ``MaxActiveModels``,
``CacheBlockSize`` (tokens) and ``CacheNumBlocks``.

Source: llm-d-router v0.10, filter/endpointattribute and scorer/endpointattribute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite

from epp.core.datalayer import CORE_EXTRACTOR
from epp.core.endpoint import EndpointMetrics

USUAL: Mapping[str, Callable[[EndpointMetrics], float]] = {
    "WaitingQueueSize": lambda m: m.waiting_queue_size,
    "RunningRequestsSize": lambda m: m.running_requests,
    "KVCacheUsagePercent": lambda m: m.kv_cache_ratio,
    "ActiveModels": lambda m: len(m.active_models),
    "WaitingModels": lambda m: len(m.waiting_models),
    "MaxActiveModels": lambda m: m.max_active_models,
    "CacheBlockSize": lambda m: m.cache_block_size_tokens,
    "CacheNumBlocks": lambda m: m.cache_num_blocks,
}


def attribute_problem(name: str, producer: str | None) -> str | None:
    """What is wrong with the name of an attribute, if anything."""
    if not name:
        return "expected the name of an attribute"
    if "/" in name and producer is None:
        return "expected no / unless producer says who makes it"
    return None


class Attribute:
    """Reads one attribute.

    ``producer`` is the extractor that makes it, None for the usual metrics' one, empty for any. A
    custom metric hides a usual one of the same name.

    Differs: in the router the usual metrics are no attributes.
    """

    __slots__ = ("_key", "_name", "_takes_any", "_usual")

    def __init__(self, name: str, producer: str | None = None) -> None:
        maker = CORE_EXTRACTOR if producer is None else producer
        self._name = name
        self._key = f"{name}/{maker or CORE_EXTRACTOR}"
        self._takes_any = not maker
        self._usual = USUAL.get(name) if maker in ("", CORE_EXTRACTOR) else None

    def read(self, metrics: EndpointMetrics) -> float | None:
        """The value; None where it is missing, or is no finite number."""
        attributes = metrics.attributes
        value = attributes.get(self._key) if attributes else None
        if value is None and self._usual is not None:
            value = self._usual(metrics)
        if value is None and self._takes_any:
            value = self._from_any(attributes)
        return value if value is not None and isfinite(value) else None

    def _from_any(self, attributes: Mapping[str, float]) -> float | None:
        if self._name in attributes:
            return attributes[self._name]
        prefix = f"{self._name}/"
        makers = (key for key in attributes if key.startswith(prefix))
        return next(
            (attributes[key] for key in makers if "/" not in key.removeprefix(prefix)), None
        )
