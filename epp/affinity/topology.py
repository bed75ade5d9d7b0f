"""How near two endpoints are, as their labels tell.

Source: llm-d-router v0.10, scheduling/util/topology.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from epp.core.datalayer import HOSTNAME


class Level(StrEnum):
    """A place that endpoints may share, the nearest first."""

    HOST = "host"
    RACK = "rack"
    ZONE = "zone"
    REGION = "region"


LABELS: Mapping[Level, str] = {
    Level.HOST: HOSTNAME,
    Level.RACK: "topology.kubernetes.io/rack",
    Level.ZONE: "topology.kubernetes.io/zone",
    Level.REGION: "topology.kubernetes.io/region",
}
"""Where an endpoint is: the ``topology-extractor`` copies it from the node."""

WITHOUT_EFFECT = "has no effect: an endpoint's labels are the same whoever made them"


class Place:
    """Where one endpoint is; compares others with it, down to the level ``farthest``.

    A label that is absent or empty on either side is no common place.
    """

    __slots__ = ("_known",)

    def __init__(self, labels: Mapping[str, str], farthest: Level = Level.REGION) -> None:
        levels = list(Level)
        near = levels[: levels.index(farthest) + 1]
        known = ((level, LABELS[level], labels.get(LABELS[level])) for level in near)
        self._known = [(level, label, value) for level, label, value in known if value]

    def shared_with(self, labels: Mapping[str, str]) -> Level | None:
        """The nearest place that both are in; None where there is none."""
        for level, label, value in self._known:
            if labels.get(label) == value:
                return level
        return None
