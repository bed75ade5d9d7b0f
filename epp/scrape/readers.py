"""From a page of an endpoint to what is known of it, for every way to read one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from epp.core.datalayer import ModelList, SeriesMaximum
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.engine import Engine, Engines
from epp.scrape.extract import MAX_SEARCHED_BYTES, MetricsReader
from epp.scrape.line import Budget, Sample
from epp.scrape.page import MetricFinder

MAX_MODELS = 1000
"""The models of one endpoint that are remembered."""


class Reader(Protocol):
    """Reads the pages of one endpoint."""

    def extract(self, page: bytes, previous: EndpointMetrics, now: float) -> EndpointMetrics | None:
        """What is known after this page, None when it has nothing of what is wanted."""


class SeriesReader:
    """Reads an attribute that is the greatest value of a metric."""

    def __init__(self, reading: SeriesMaximum, endpoint: Endpoint) -> None:
        self._attribute = reading.attribute
        self._divisor = reading.divisor
        self._finder = MetricFinder(reading.spec)
        self._pod = endpoint.pod
        self._namespace = endpoint.namespace

    def extract(self, page: bytes, previous: EndpointMetrics, now: float) -> EndpointMetrics | None:
        samples = self._own(self._finder.find(page[:MAX_SEARCHED_BYTES], Budget()))
        if not samples:
            return None
        value = max(sample.value for sample in samples) / self._divisor
        attributes = {**previous.attributes, self._attribute: value}
        return msgspec.structs.replace(previous, attributes=attributes)

    def _own(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The series of this pod; all of them where none tells a pod, or there is no pod."""
        if not self._pod or not any(sample.labels.by_name.get("pod") for sample in samples):
            return samples
        return [sample for sample in samples if self._is_own(sample)]

    def _is_own(self, sample: Sample) -> bool:
        labels = sample.labels.by_name
        return labels.get("pod") == self._pod and labels.get("namespace") in (
            None,
            self._namespace,
        )


class _Model(msgspec.Struct):
    id: str
    parent: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class ModelsReader:
    """Reads the list of models that an endpoint serves."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Models)

    def extract(self, page: bytes, previous: EndpointMetrics, now: float) -> EndpointMetrics | None:
        try:
            models = self._decoder.decode(page).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        served = {model.id: model.parent or "" for model in models[:MAX_MODELS]}
        if served == previous.served_models:
            return previous
        return msgspec.structs.replace(previous, served_models=served)


def make_reader(
    reading: Engines | SeriesMaximum | ModelList, endpoint: Endpoint, engine: Engine
) -> Reader:
    """What reads this of an endpoint; ``engine`` is its model server if its labels name none."""
    match reading:
        case Engines():
            return MetricsReader(reading.of(endpoint.labels, engine))
        case SeriesMaximum():
            return SeriesReader(reading, endpoint)
        case ModelList():
            return ModelsReader()
