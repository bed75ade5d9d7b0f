"""What is read about endpoints beside the objects of a cluster: sources, and what they are for.

Plugins declare it with these values; the rooms that own the sockets do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from epp.core.engine import Engines
from epp.core.metricspec import MetricSpec
from epp.core.plugin import Plugin
from epp.core.polling import Polling

METRICS_SOURCE = "metrics-data-source"
CORE_EXTRACTOR = "core-metrics-extractor"

METRICS_PAGE = "Prometheus metrics"
MODELS_PAGE = "a list of models"
"""Forms of what sources deliver and extractors read; objects have the name of their kind."""


class ObjectKind(msgspec.Struct, frozen=True):
    """A kind of object in a cluster, which is watched."""

    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version} {self.kind}".removeprefix("/")


NODE = ObjectKind("", "v1", "Node")
HOSTNAME = "kubernetes.io/hostname"
"""The label that is the name of a node, wherever nobody chose another."""


class SeriesMaximum(msgspec.Struct, frozen=True):
    """An attribute that is the greatest value of a metric, divided.

    Where the series tell their pods only those of the endpoint's pod count.
    """

    attribute: str
    spec: MetricSpec
    divisor: float = 1.0


class ModelList(msgspec.Struct, frozen=True):
    """The models that an endpoint serves."""


class NodeLabels(msgspec.Struct, frozen=True):
    """Labels that an endpoint gets from its node: what they are called here and there."""

    names: Mapping[str, str]


Reading: TypeAlias = Engines | SeriesMaximum | ModelList | NodeLabels


class DataSource(Plugin):
    """Declares what is read about endpoints, and how.

    ``delivers`` is the form of what it reads, which has to be the one that an extractor ``reads``.
    """

    delivers: str = ""
    reading: Polling | ObjectKind


class Extractor(Plugin):
    """Declares what of a source's data becomes part of an endpoint."""

    reads: str = ""
    reading: Reading


class SourceUse(msgspec.Struct, frozen=True):
    """A data source, and what is taken from it."""

    source: DataSource
    extractors: tuple[Extractor, ...] = ()

    def problems(self) -> Iterator[tuple[int, str]]:
        """The numbers of extractors that cannot be used here, and why."""
        types: set[str] = set()
        for i, extractor in enumerate(self.extractors):
            if extractor.reads != self.source.delivers:
                yield (
                    i,
                    f"the extractor {extractor} reads {extractor.reads or 'nothing'}, but "
                    f"{self.source} delivers {self.source.delivers or 'nothing'}",
                )
            if extractor.type in types:
                yield i, f"a second {extractor.type} on one source"
            types.add(extractor.type)


class DataLayer(msgspec.Struct, frozen=True):
    """What is read about endpoints; with ``has_defaults`` the usual metrics are, too.

    They are not read twice: a source that is called ``metrics-data-source`` stands for them.
    """

    sources: tuple[SourceUse, ...] = ()
    has_defaults: bool = True

    @property
    def has_implicit_metrics(self) -> bool:
        """Whether the usual metrics are read without being declared."""
        names = [use.source.name for use in self.sources]
        return self.has_defaults and METRICS_SOURCE not in names

    def problems(self) -> Iterator[str]:
        """What is wrong with the whole of it."""
        if not self.sources and not self.has_defaults:
            yield "data layer enabled but no data sources configured"

    def node_labels(self) -> Mapping[str, str]:
        """The labels that endpoints get from their nodes, here and there; mostly none."""
        wanted: dict[str, str] = {}
        for use in self.sources:
            for extractor in use.extractors:
                if isinstance(extractor.reading, NodeLabels):
                    wanted |= extractor.reading.names
        return wanted
