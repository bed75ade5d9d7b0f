from __future__ import annotations

from epp.core.datalayer import HOSTNAME, NODE, NodeLabels
from epp.plugins.extractors.topology import (
    RACK,
    REGION,
    ZONE,
    TopologyExtractor,
    TopologyExtractorParams,
)
from tests.fakes import make_handle


def test_parameters_are_what_labels_are_called_on_nodes() -> None:
    extractor = TopologyExtractor(TopologyExtractorParams(rack="r", zone="r"), make_handle())
    names = {HOSTNAME: HOSTNAME, RACK: "r", ZONE: "r", REGION: REGION}
    assert extractor.reading == NodeLabels(names)
    assert extractor.reads == str(NODE)
