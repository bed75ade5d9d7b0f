"""``core-metrics-extractor``: an endpoint's load, read as its kind of model server tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from epp.core.datalayer import METRICS_PAGE, Extractor
from epp.core.engine import BUILT_IN, ENGINE_LABELS, Engine, Engines
from epp.core.metricspec import MetricSpec
from epp.core.plugin import Handle, Params, Stability, plugin

RESERVED = "default"
VLLM = "vllm"
_SPECS = (
    ("queuedRequestsSpec", "queued_requests_spec"),
    ("runningRequestsSpec", "running_requests_spec"),
    ("kvUsageSpec", "kv_usage_spec"),
    ("loraSpec", "lora_spec"),
    ("cacheInfoSpec", "cache_info_spec"),
    ("cacheBlockSizeSpec", "cache_block_size_spec"),
    ("cacheNumBlocksSpec", "cache_num_blocks_spec"),
)


class CustomMetric(Params, frozen=True):
    """A metric that becomes an attribute of endpoints."""

    attribute_key: Annotated[str, Meta(min_length=1, description="The attribute.")]
    metric_spec: Annotated[str, Meta(min_length=1, description="The metric.")]


class EngineConfig(Params, frozen=True):
    """The metrics of a kind of model server, each as ``name`` or ``name{label=value}``."""

    name: Annotated[str, Meta(min_length=1, description="As the pods' label has it.")]
    queued_requests_spec: str = ""
    running_requests_spec: str = ""
    kv_usage_spec: str = ""
    lora_spec: str = ""
    cache_info_spec: str = ""
    cache_block_size_label_name: str = "block_size"
    cache_num_blocks_label_name: str = "num_gpu_blocks"
    cache_block_size_spec: str = ""
    cache_num_blocks_spec: str = ""
    custom_metrics: tuple[CustomMetric, ...] = ()

    def problems(self) -> Iterable[tuple[str, str]]:
        if self.name == RESERVED:
            yield "name", f"{RESERVED} is no name for an engine"
        for key, field in _SPECS:
            yield from _spec_problems(key, getattr(self, field))
        keys = Counter(metric.attribute_key for metric in self.custom_metrics)
        for i, metric in enumerate(self.custom_metrics):
            yield from _spec_problems(f"customMetrics[{i}].metricSpec", metric.metric_spec)
            if keys[metric.attribute_key] > 1:
                yield f"customMetrics[{i}].attributeKey", f"{metric.attribute_key} is not unique"

    def engine(self) -> Engine:
        """The engine."""
        kv_cache, custom = MetricSpec.parse(self.kv_usage_spec), self.custom_metrics
        attributes = [(m.attribute_key, MetricSpec.parse(m.metric_spec)) for m in custom]
        return Engine(
            waiting=MetricSpec.parse(self.queued_requests_spec),
            running=MetricSpec.parse(self.running_requests_spec),
            kv_cache=(kv_cache,) if kv_cache else (),
            lora=MetricSpec.parse(self.lora_spec),
            cache_info=MetricSpec.parse(self.cache_info_spec),
            block_size_label=self.cache_block_size_label_name,
            num_blocks_label=self.cache_num_blocks_label_name,
            block_size=MetricSpec.parse(self.cache_block_size_spec),
            num_blocks=MetricSpec.parse(self.cache_num_blocks_spec),
            attributes=tuple([(key, spec) for key, spec in attributes if spec is not None]),
        )


class CoreMetricsExtractorParams(Params, frozen=True):
    """Which kinds of model servers there are, and how to tell them."""

    engine_label_key: Annotated[
        str, Meta(min_length=1, description="The pods' label that names the engine.")
    ] = ENGINE_LABELS[0]
    default_engine: Annotated[
        str | None, Meta(description="Of endpoints whose label names none that is known.")
    ] = None
    engine_configs: tuple[EngineConfig, ...] = ()

    def problems(self) -> Iterable[tuple[str, str]]:
        names = Counter(config.name for config in self.engine_configs)
        for i, config in enumerate(self.engine_configs):
            if names[config.name] > 1:
                yield f"engineConfigs[{i}].name", f"{config.name} is not unique"
            for key, text in config.problems():
                yield f"engineConfigs[{i}].{key}", text
        if self.default_engine is not None and self.default_engine not in {*BUILT_IN, *names}:
            yield "defaultEngine", f"there is no engine {self.default_engine}"


@plugin("core-metrics-extractor", params=CoreMetricsExtractorParams, stability=Stability.BETA)
class CoreMetricsExtractor(Extractor):
    """Read queue, running requests, KV cache and adapters by the metrics of the endpoint's engine.

    An engine that is configured stands for a built-in one of its name. Without ``defaultEngine`` it
    is ``vllm`` if that is configured, else the one of the metric flags, which are vLLM's as well.

    Source: llm-d-router v0.10, core-metrics-extractor.
    """

    reads = METRICS_PAGE

    def __init__(self, params: CoreMetricsExtractorParams, handle: Handle) -> None:
        engines = {**BUILT_IN, **{each.name: each.engine() for each in params.engine_configs}}
        default = params.default_engine
        if default is None and any(each.name == VLLM for each in params.engine_configs):
            default = VLLM
        self.reading: Engines = Engines(
            labels=(params.engine_label_key, ENGINE_LABELS[1]),
            by_name=engines,
            default=None if default is None else engines[default],
        )


def _spec_problems(key: str, text: str) -> Iterable[tuple[str, str]]:
    try:
        MetricSpec.parse(text)
    except ValueError as error:
        yield key, str(error)
