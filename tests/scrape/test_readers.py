from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.datalayer import ModelList, SeriesMaximum
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.engine import BUILT_IN, ENGINE_LABELS, Engine, Engines
from epp.core.metricspec import MetricSpec
from epp.scrape.readers import MAX_MODELS, Reader, make_reader

POD = Endpoint(id="ns/a-rank-0", name="a-rank-0", namespace="ns", address="x", port=1, pod="a")
FILE = Endpoint(id="ns/a", name="a", namespace="ns", address="x", port=1)
GPU = SeriesMaximum("GPUUtilization/d", MetricSpec("UTIL"), divisor=100.0)
BEFORE = EndpointMetrics(waiting_queue_size=3, updated_at=0.5, attributes={"x/y": 1.0})


def reader(reading: Engines | SeriesMaximum | ModelList, endpoint: Endpoint = POD) -> Reader:
    return make_reader(reading, endpoint, Engine())


@pytest.mark.parametrize(
    ("endpoint", "page", "value"),
    [
        (POD, b"UTIL 30\n", 0.3),
        (POD, b'UTIL{gpu="0"} 30\nUTIL{gpu="1"} 70\n', 0.7),
        (POD, b'UTIL{pod="a"} 30\nUTIL{pod="b"} 70\n', 0.3),
        (POD, b'UTIL{pod="a",namespace="ns"} 30\nUTIL{pod="a",namespace="other"} 70\n', 0.3),
        (POD, b'UTIL{pod=""} 30\n', 0.3),
        (POD, b'UTIL{pod="b"} 30\n', None),
        (FILE, b'UTIL{pod="b"} 30\n', 0.3),
        (POD, b"OTHER 30\n", None),
    ],
)
def test_the_greatest_of_an_endpoints_series_counts(
    endpoint: Endpoint, page: bytes, value: float | None
) -> None:
    metrics = reader(GPU, endpoint).extract(page, BEFORE, 1.0)
    if value is None:
        assert metrics is None
    else:
        assert metrics is not None
        assert metrics.attributes == {"x/y": 1.0, "GPUUtilization/d": value}
        assert (metrics.waiting_queue_size, metrics.updated_at) == (3, 0.5)


def test_models_are_read_with_what_they_are_adapters_of() -> None:
    page = b'{"data":[{"id":"m","parent":null},{"id":"l","parent":"m","root":"/l"},{"id":"n"}]}'
    models = reader(ModelList())
    metrics = models.extract(page, BEFORE, 1.0)
    assert metrics is not None
    assert metrics.served_models == {"m": "", "l": "m", "n": ""}
    assert metrics.updated_at == 0.5
    assert models.extract(page, metrics, 2.0) is metrics


def test_the_models_of_an_endpoint_are_bounded() -> None:
    page = b'{"data":[%b]}' % b",".join(b'{"id":"%d"}' % i for i in range(MAX_MODELS + 5))
    metrics = reader(ModelList()).extract(page, BEFORE, 1.0)
    assert metrics is not None
    assert len(metrics.served_models) == MAX_MODELS


@pytest.mark.parametrize("page", [b"", b"{}", b"[]", b'{"data":[{"id":1}]}', b"\xff", b"[" * 9999])
def test_what_is_no_list_of_models_is_unusable(page: bytes) -> None:
    assert reader(ModelList()).extract(page, BEFORE, 1.0) is None


@given(st.binary(max_size=100))
def test_no_page_raises(noise: bytes) -> None:
    for reading in (GPU, ModelList(), Engines((), {})):
        reader(reading).extract(b'UTIL{pod="' + noise, BEFORE, 1.0)
        reader(reading).extract(b'{"data":[' + noise, BEFORE, 1.0)


def test_an_endpoint_is_read_as_its_label_says() -> None:
    labelled = Endpoint(
        id="n/s", name="s", namespace="n", address="x", port=1, labels={ENGINE_LABELS[0]: "sglang"}
    )
    page = b"sglang:num_queue_reqs 4\nvllm:num_requests_waiting 9\n"
    engines = Engines(ENGINE_LABELS, BUILT_IN)
    for endpoint, waiting in ((labelled, 4), (FILE, 9)):
        metrics = reader(engines, endpoint).extract(page, BEFORE, 1.0)
        assert metrics is not None
        assert metrics.waiting_queue_size == waiting
