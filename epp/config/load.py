"""From the text of a configuration to live plugins, or to a list of all that is wrong in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from epp.config.document import read_document
from epp.config.environment import override_thresholds, without_effect
from epp.config.findings import Finding, Findings, Places
from epp.config.flowcontrol import check_flow_control
from epp.config.needs import add_producers, in_order
from epp.config.older import declarations
from epp.config.profiles import ProfilePlan, find_handler, plan_profiles
from epp.config.references import find_data_layer, find_discovery, find_parsers
from epp.config.saturation import DEFAULT_DETECTOR, read_thresholds, referenced_detector
from epp.config.schema import NEW_GROUP, ConfigSection
from epp.config.shape import (
    FLOW_CONTROL,
    check_kind,
    has_other_than_a_list,
    read_gates,
    read_shape,
)
from epp.config.shelf import Entry, Rules, Shelf
from epp.core.call import in_role
from epp.core.datalayer import DataLayer
from epp.core.parser import Parser
from epp.core.plugin import (
    REGISTRY,
    DataProducer,
    Discovery,
    EndpointListener,
    Handle,
    Plugin,
    PluginType,
    SaturationDetector,
)
from epp.saturation import AnyRoomDetector
from epp.scheduling.scheduler import Scheduler

DEFAULT_CONFIG = """\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
"""
"""What runs when no configuration is given: the one of the chart and of Istio's page."""


class LoadedConfig(msgspec.Struct, frozen=True):
    """Live objects, and what they were made from; ``producers`` are in the order of their calls.

    ``findings`` are worth a line in the log each: what is deprecated or has no effect.
    ``environment_notices`` are the same about environment variables.
    """

    scheduler: Scheduler
    producers: Sequence[DataProducer]
    parsers: Sequence[Parser]
    saturation: SaturationDetector
    discovery: Discovery | None
    data_layer: DataLayer
    entries: Mapping[str, Entry]
    profiles: Sequence[ProfilePlan]
    section: ConfigSection
    gates: Mapping[str, bool]
    places: Places
    findings: Sequence[Finding]
    environment_notices: Sequence[str]

    @property
    def plugins(self) -> list[Plugin]:
        """Every plugin, in the order of declaration, those added by default last."""
        return [entry.plugin for entry in self.entries.values()]

    @property
    def endpoint_listeners(self) -> list[EndpointListener]:
        """The plugins that keep state per endpoint."""
        return in_role(EndpointListener, self.plugins)


def load_config(
    text: str,
    name: str,
    handle: Handle,
    environment: Mapping[str, str] | None = None,
    *,
    catalogue: Mapping[str, PluginType] = REGISTRY,
    allow_experimental: bool = False,
    before: LoadedConfig | None = None,
) -> LoadedConfig:
    """Read, check and build; ``name`` is what findings are reported under.

    Variables of ``environment`` override thresholds. Plugins of the configuration ``before`` go on
    in this one where nothing about them has changed.

    Raises:
        ConfigError: with every problem found, each naming its place and the rule.
    """
    document = read_document(text, name)
    findings = Findings(document.places)
    config, refused = read_shape(document, findings)
    check_kind(config, findings)
    gates = read_gates(config.feature_gates or (), findings)
    rules = Rules(
        catalogue=catalogue,
        is_strict=config.api_version == NEW_GROUP,
        allow_experimental=allow_experimental,
    )
    shelf = Shelf(rules, handle, findings, before.entries if before else {})
    sections = [(f"$.plugins[{i}]", s) for i, s in enumerate(config.plugins or ()) if s]
    if has_other_than_a_list(document.value, "plugins"):
        findings.stop_if_wrong()  # of no plugin is anything known: every name would be wrong
    shelf.declare(declarations(sections, is_old=not rules.is_strict), refused)
    check_flow_control(config.flow_control, findings, is_on=gates[FLOW_CONTROL])
    discovery = find_discovery(config, shelf, findings)
    data_layer = find_data_layer(config, shelf, findings)
    profiles = plan_profiles(config.scheduling_profiles or (), shelf, findings)
    handler = find_handler(len(config.scheduling_profiles or ()), shelf, findings)
    detector, notices = _find_detector(config, shelf, findings, handle, environment or {})
    parsers = find_parsers(config, shelf, findings)
    add_producers(shelf, findings)
    producers = in_order(shelf, findings)
    findings.stop_if_wrong()
    assert detector is not None  # otherwise there was an error
    assert handler is not None
    return LoadedConfig(
        scheduler=Scheduler(handler, [plan.build(handle.probe) for plan in profiles], handle.probe),
        producers=producers,
        parsers=parsers,
        saturation=detector,
        discovery=discovery,
        data_layer=data_layer,
        entries=dict(shelf.entries),
        profiles=profiles,
        section=config,
        gates=gates,
        places=document.places,
        findings=tuple(findings.all),
        environment_notices=tuple(notices),
    )


def _find_detector(
    config: ConfigSection,
    shelf: Shelf,
    findings: Findings,
    handle: Handle,
    environment: Mapping[str, str],
) -> tuple[SaturationDetector | None, list[str]]:
    """The detector that is referred to, or one made from thresholds; and notices on variables."""
    name, path = referenced_detector(config, shelf.plugins, findings)
    notices = without_effect(environment, has_thresholds=not name)
    thresholds = read_thresholds(config.saturation_detector, findings)
    if not name:
        thresholds, lines = override_thresholds(thresholds, environment)
        return AnyRoomDetector(thresholds, handle), [*notices, *lines]
    if name == DEFAULT_DETECTOR and name not in shelf.plugins:
        shelf.add(DEFAULT_DETECTOR, "no saturation detector is configured")
    return shelf.find(name, SaturationDetector, path, what="a saturation detector"), notices
