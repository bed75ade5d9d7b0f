"""``topology-extractor``: endpoints get the labels that tell where their nodes are."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from epp.affinity.topology import LABELS, Level
from epp.core.datalayer import NODE, Extractor, NodeLabels
from epp.core.plugin import Handle, Params, Stability, plugin

HOST, RACK, ZONE, REGION = (LABELS[level] for level in Level)


class TopologyExtractorParams(Params, frozen=True):
    """What the labels are called on nodes."""

    hostname: Annotated[str, Meta(min_length=1, description="The node's name.")] = HOST
    rack: Annotated[str, Meta(min_length=1, description="The node's rack.")] = RACK
    zone: Annotated[str, Meta(min_length=1, description="The node's zone.")] = ZONE
    region: Annotated[str, Meta(min_length=1, description="The node's region.")] = REGION


@plugin("topology-extractor", params=TopologyExtractorParams, stability=Stability.ALPHA)
class TopologyExtractor(Extractor):
    """Label endpoints with their node's place; a label that a pod has itself wins.

    On endpoints the labels are called as the parameters are by default. A node that lacks the
    hostname, or that nobody may read, gives its name instead. Endpoints out of a file have no node.
    Differs: the router takes the pod's own hostname then, which no two pods share.

    Source: llm-d-router v0.10, topology-extractor.
    """

    reads = str(NODE)

    def __init__(self, params: TopologyExtractorParams, handle: Handle) -> None:
        self.reading: NodeLabels = NodeLabels(
            {HOST: params.hostname, RACK: params.rack, ZONE: params.zone, REGION: params.region}
        )
