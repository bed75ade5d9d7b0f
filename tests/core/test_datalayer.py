from __future__ import annotations

import pytest

from epp.core.datalayer import (
    METRICS_PAGE,
    METRICS_SOURCE,
    NODE,
    DataLayer,
    DataSource,
    Extractor,
    ModelList,
    NodeLabels,
    ObjectKind,
    SourceUse,
)
from epp.core.polling import Polling


class Source(DataSource):
    type = "source"

    def __init__(self, delivers: str, name: str = "s") -> None:
        self.delivers = delivers
        self.reading = Polling()
        self.bind(name)


class Taker(Extractor):
    type = "taker"

    def __init__(self, reads: str) -> None:
        self.reads = reads
        self.reading = ModelList()


class Labels(Extractor):
    type = "labels"
    reads = str(NODE)
    reading = NodeLabels({"here": "there"})


def test_an_extractor_reads_what_its_source_delivers() -> None:
    use = SourceUse(Source(METRICS_PAGE), (Taker(METRICS_PAGE), Labels()))
    assert list(use.problems()) == [
        (1, "the extractor labels/labels reads v1 Node, but s/source delivers Prometheus metrics")
    ]


def test_no_type_takes_twice_from_a_source() -> None:
    use = SourceUse(Source(METRICS_PAGE), (Taker(METRICS_PAGE), Taker(METRICS_PAGE)))
    assert list(use.problems()) == [(1, "a second taker on one source")]


@pytest.mark.parametrize(
    ("layer", "is_implicit", "problems"),
    [
        (DataLayer(), True, 0),
        (DataLayer(has_defaults=False), False, 1),
        (DataLayer((SourceUse(Source("x")),)), True, 0),
        (DataLayer((SourceUse(Source("x")),), has_defaults=False), False, 0),
        (DataLayer((SourceUse(Source("x", METRICS_SOURCE)),)), False, 0),
    ],
)
def test_the_usual_metrics_are_read_unless_something_stands_for_them(
    layer: DataLayer, is_implicit: bool, problems: int
) -> None:
    assert layer.has_implicit_metrics is is_implicit
    assert len(list(layer.problems())) == problems


def test_a_layer_knows_which_labels_of_nodes_are_wanted() -> None:
    assert DataLayer().node_labels() == {}
    layer = DataLayer((SourceUse(Source("x")), SourceUse(Source(str(NODE)), (Labels(),))))
    assert layer.node_labels() == {"here": "there"}


def test_a_kind_is_called_as_its_objects_are() -> None:
    assert str(NODE) == "v1 Node"
    assert str(ObjectKind("apps", "v1", "Deployment")) == "apps/v1 Deployment"
