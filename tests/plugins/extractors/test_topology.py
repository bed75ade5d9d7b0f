from __future__ import annotations

from epp.core.datalayer import NODE, NodeLabels
from epp.plugins.extractors.topology import TopologyExtractor, TopologyExtractorParams
from tests.fakes import make_handle


def test_parameters_are_what_labels_are_called_on_nodes() -> None:
    extractor = TopologyExtractor(TopologyExtractorParams(rack="r", zone="r"), make_handle())
    names = {
        "kubernetes.io/hostname": "kubernetes.io/hostname",
        "topology.kubernetes.io/rack": "r",
        "topology.kubernetes.io/zone": "r",
        "topology.kubernetes.io/region": "topology.kubernetes.io/region",
    }
    assert extractor.reading == NodeLabels(names)
    assert extractor.reads == str(NODE)
