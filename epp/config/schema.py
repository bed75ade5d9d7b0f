"""The shape of an EndpointPickerConfig.

Source: gateway-api-inference-extension 2aaf2a6, apix/config/v1alpha1; llm-d-router v0.10,
apix/config/v1alpha1.
"""

from __future__ import annotations

from typing import Any

import msgspec

OLD_GROUP = "inference.networking.x-k8s.io/v1alpha1"
NEW_GROUP = "llm-d.ai/v1alpha1"
KIND = "EndpointPickerConfig"


class Section(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A mapping in the file: camelCase there, snake_case here, unknown keys refused."""


class PluginSection(Section, frozen=True):
    """One declared plugin; ``parameters`` are checked by the plugin's own type."""

    type: str = ""
    name: str | None = None
    parameters: Any = None


class PluginRefSection(Section, frozen=True):
    """A plugin's place in a profile; ``weight`` counts for scorers only."""

    plugin_ref: str = ""
    weight: float | None = None


class ProfileSection(Section, frozen=True):
    """A scheduling profile."""

    name: str = ""
    plugins: list[PluginRefSection] | None = None


class ReferenceSection(Section, frozen=True):
    """A reference to a declared plugin and nothing else."""

    plugin_ref: str


class SaturationSection(Section, frozen=True):
    """Thresholds as in the older group, or a plugin as in the newer one."""

    plugin_ref: str | None = None
    queue_depth_threshold: int | None = None
    kv_cache_util_threshold: float | None = None
    metrics_staleness_threshold: str | None = None


class DetectorSection(Section, frozen=True):
    """A reference to the saturation detector; without one it is the default."""

    plugin_ref: str | None = None


class BandSection(Section, frozen=True):
    """A priority band; ``priority`` is given only in the list of bands."""

    priority: int | None = None
    max_bytes: int | str | None = None
    max_requests: int | str | None = None
    fairness_policy_ref: str | None = None
    ordering_policy_ref: str | None = None


class FlowControlSection(Section, frozen=True):
    """Who says whether the pool is saturated, and how requests wait while it is."""

    saturation_detector: DetectorSection | None = None
    max_bytes: int | str | None = None
    max_requests: int | str | None = None
    default_request_ttl: str | None = msgspec.field(default=None, name="defaultRequestTTL")
    no_endpoint_request_ttl: str | None = msgspec.field(default=None, name="noEndpointRequestTTL")
    usage_limit_policy_plugin_ref: str | None = None
    enable_eviction: bool | None = None
    default_priority_band: BandSection | None = None
    default_negative_priority_band: BandSection | None = None
    priority_bands: list[BandSection] | None = None


class SourceSection(Section, frozen=True):
    """A data source, and what is taken from it."""

    plugin_ref: str
    extractors: list[ReferenceSection] | None = None


class DataLayerSection(Section, frozen=True):
    """Where endpoints come from, and what is read about them."""

    inject_defaults: bool = True
    sources: list[SourceSection] | None = None
    discovery: ReferenceSection | None = None
    peer_discovery: ReferenceSection | None = None
    cross_replica_syncer_plugin_ref: str | None = None
    cross_replica_sync_interval: str | None = None


class RequestHandlerSection(Section, frozen=True):
    """How request bodies are read: parsers, in the order of their choice."""

    parsers: list[ReferenceSection] | None = None


class ConfigSection(Section, frozen=True):
    """The whole file; None in a list is an entry that could not be read."""

    api_version: str | None = None
    kind: str | None = None
    feature_gates: list[str] | None = None
    plugins: list[PluginSection | None] | None = None
    scheduling_profiles: list[ProfileSection | None] | None = None
    saturation_detector: SaturationSection | None = None
    flow_control: FlowControlSection | None = None
    data_layer: DataLayerSection | None = None
    request_handler: RequestHandlerSection | None = None
    parser: ReferenceSection | None = None
