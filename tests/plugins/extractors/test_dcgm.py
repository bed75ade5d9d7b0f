from __future__ import annotations

from epp.core.datalayer import METRICS_PAGE, SeriesMaximum
from epp.core.metricspec import MetricSpec
from epp.plugins.extractors.dcgm import DcgmExtractor


def test_percents_of_the_busiest_gpu_become_a_share() -> None:
    extractor = DcgmExtractor()
    spec = MetricSpec("DCGM_FI_DEV_GPU_UTIL")
    assert extractor.reading == SeriesMaximum("GPUUtilization", spec, divisor=100.0)
    assert extractor.reads == METRICS_PAGE
