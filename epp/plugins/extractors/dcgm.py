"""``dcgm-extractor``: how busy the GPUs of an endpoint are."""

from __future__ import annotations

from epp.core.datalayer import METRICS_PAGE, Extractor, SeriesMaximum
from epp.core.metricspec import MetricSpec
from epp.core.plugin import NoParams, Stability, plugin

GPU_UTILIZATION = SeriesMaximum("GPUUtilization", MetricSpec("DCGM_FI_DEV_GPU_UTIL"), divisor=100.0)


@plugin("dcgm-extractor", params=NoParams, stability=Stability.ALPHA)
class DcgmExtractor(Extractor):
    """Give endpoints the attribute ``GPUUtilization``, 0..1, of their busiest GPU.

    Source: llm-d-router v0.10, dcgm-extractor.
    """

    reads = METRICS_PAGE
    reading = GPU_UTILIZATION
