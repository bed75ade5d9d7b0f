"""From the text of a configuration to live plugins, or to a list of all that is wrong in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, TypeVar

import msgspec

from epp.config.document import ConfigError, Document, read_document
from epp.config.environment import override_thresholds, without_effect
from epp.config.findings import Findings
from epp.config.saturation import DEFAULT_DETECTOR, read_thresholds, referenced_detector
from epp.config.schema import (
    KIND,
    NEW_GROUP,
    OLD_GROUP,
    ConfigSection,
    FlowControlSection,
    PluginRefSection,
    PluginSection,
    ProfileSection,
)
from epp.core.plugin import (
    REGISTRY,
    Discovery,
    EndpointListener,
    Filter,
    Handle,
    NoParams,
    Picker,
    Plugin,
    PluginType,
    PreRequest,
    ProfileHandler,
    SaturationDetector,
    Scorer,
)
from epp.saturation import AnyRoomDetector
from epp.scheduling.profile import Profile, WeightedScorer
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

FEATURE_GATES = frozenset({"dataLayer", "flowControl"})
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})
DEFAULT_PROFILE = "default"
DEFAULT_PICKER = "max-score-picker"
DEFAULT_HANDLER = "single-profile-handler"

P = TypeVar("P", bound=Plugin)


class LoadedConfig(msgspec.Struct, frozen=True):
    """Live objects. ``notices`` are lines for the log: what has no effect, what is deprecated.

    ``environment_notices`` are the same about environment variables.
    """

    scheduler: Scheduler
    plugins: Sequence[Plugin]
    saturation: SaturationDetector
    discovery: Discovery | None
    notices: Sequence[str]
    environment_notices: Sequence[str]

    def of(self, role: type[P]) -> list[P]:
        """The plugins that fill a role, in the order of their declaration."""
        return [plugin for plugin in self.plugins if isinstance(plugin, role)]

    @property
    def pre_request(self) -> list[PreRequest]:
        """The plugins that want to know of decisions."""
        return self.of(PreRequest)

    @property
    def endpoint_listeners(self) -> list[EndpointListener]:
        """The plugins that keep state per endpoint."""
        return self.of(EndpointListener)


def load_config(
    text: str, name: str, handle: Handle, environment: Mapping[str, str] | None = None
) -> LoadedConfig:
    """Read, check and build; ``name`` is what problems are reported under.

    Variables of ``environment`` override thresholds.

    Raises:
        ConfigError: with every problem found, each naming its line, its place and the rule.
    """
    return _Loading(read_document(text, name), handle, environment or {}).run()


class _Loading:
    """One load: collects problems as it goes, and gives up where going on makes no sense."""

    def __init__(self, document: Document, handle: Handle, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._findings = Findings(document)
        self._handle = handle
        self._environment_notices: list[str] = []
        self._plugins: dict[str, Plugin] = {}

    def run(self) -> LoadedConfig:
        config = self._read_shape()
        self._check_kind(config)
        self._check_gates(config.feature_gates or ())
        self._make_plugins(config.plugins or ())
        profiles = self._profiles(config)
        self._check_references(profiles)
        saturation = self._saturation(config)
        self._note_what_has_no_effect(config.flow_control)
        discovery = self._discovery(config)
        self._findings.stop_if_wrong()
        assert saturation is not None  # otherwise there was a problem
        handler = self._handler(profiles)
        scheduler = Scheduler(handler, self._build_profiles(profiles), self._handle.probe)
        return LoadedConfig(
            scheduler=scheduler,
            plugins=tuple(self._plugins.values()),
            saturation=saturation,
            discovery=discovery,
            notices=tuple(self._findings.notices),
            environment_notices=tuple(self._environment_notices),
        )

    def _read_shape(self) -> ConfigSection:
        """The document in its types; each list entry on its own: no problem hides another."""
        value = {} if self._document.value is None else self._document.value
        if not isinstance(value, dict):
            raise ConfigError([self._document.problem("$", "expected a mapping at the top level")])
        lists: dict[str, list[Any]] = {}
        rest = dict(value)
        for key, item_type in (("plugins", PluginSection), ("schedulingProfiles", ProfileSection)):
            items = rest.get(key)
            if isinstance(items, list):
                del rest[key]
                read = [
                    self._findings.convert(item, item_type, f"$.{key}[{i}]")
                    for i, item in enumerate(items)
                ]
                lists[key] = [item for item in read if item is not None]
        config = self._findings.convert(rest, ConfigSection, "$")
        self._findings.stop_if_wrong()
        assert config is not None  # otherwise there was a problem
        return msgspec.structs.replace(
            config,
            plugins=lists.get("plugins", config.plugins),
            scheduling_profiles=lists.get("schedulingProfiles", config.scheduling_profiles),
        )

    def _check_kind(self, config: ConfigSection) -> None:
        if config.api_version not in (None, OLD_GROUP, NEW_GROUP) or config.kind not in (
            None,
            KIND,
        ):
            self._findings.wrong(
                "$.kind" if config.kind not in (None, KIND) else "$.apiVersion",
                f'no kind "{config.kind or ""}" is registered for version '
                f'"{config.api_version or ""}"; expected {KIND} in {OLD_GROUP} or {NEW_GROUP}',
            )
        self._is_strict = config.api_version == NEW_GROUP

    def _check_gates(self, gates: Sequence[str]) -> None:
        for i, gate in enumerate(gates):
            name, _, value = gate.partition("=")
            setting = value.strip().lower() or "true"
            if name not in FEATURE_GATES or setting not in _TRUE | _FALSE:
                self._findings.wrong(
                    f"$.featureGates[{i}]", f"{gate} is an unregistered Feature Gate"
                )
            elif setting in _TRUE:
                self._findings.notices.append(f"feature gate {name} has no effect in this version")

    def _make_plugins(self, sections: Sequence[PluginSection]) -> None:
        for i, section in enumerate(sections):
            path = f"$.plugins[{i}]"
            name = section.name or section.type
            if not section.type:
                self._findings.wrong(path, f"plugin definition for '{name}' is missing a type")
            elif name in self._plugins:
                self._findings.wrong(path, f"plugin name '{name}' used more than once")
            elif section.type not in REGISTRY:
                self._findings.wrong(
                    f"{path}.type", f"plugin type '{section.type}' is not found in registry"
                )
            else:
                self._make(section.type, name, section.parameters, f"{path}.parameters")

    def _make(self, type_name: str, name: str, parameters: object, path: str) -> None:
        declared = REGISTRY[type_name]
        values = self._mapping(parameters, declared, path)
        fields = {
            field.encode_name.lower(): field.encode_name
            for field in msgspec.structs.fields(declared.params)
        }
        known: dict[str, Any] = {}
        for key, value in values.items():
            # Go's JSON decoder matches parameter names in any case.
            if key.lower() in fields:
                known[fields[key.lower()]] = value
            elif self._is_strict:
                self._findings.wrong(f"{path}.{key}", f'unknown parameter "{key}" of {type_name}')
            else:
                self._findings.notice(f"{path}.{key}", f"{type_name} ignores this parameter")
        params = self._findings.convert_fields(known, declared.params, path)
        if params is not None:
            for key, hint in params.hints():
                self._findings.notice(f"{path}.{key}", hint)
            self._add(declared.make(params, self._handle), name)

    def _mapping(self, parameters: object, declared: PluginType, path: str) -> Mapping[str, Any]:
        """The parameters by name; where a plugin takes none, the older group allows anything."""
        if parameters is None or isinstance(parameters, dict):
            return parameters or {}
        if declared.params is NoParams and not self._is_strict:
            self._findings.notice(path, f"{declared.name} ignores its parameters")
        else:
            self._findings.wrong(path, "expected a mapping of parameters")
        return {}

    def _add(self, plugin: Plugin, name: str) -> None:
        plugin.bind(name)
        self._plugins[name] = plugin

    def _profiles(self, config: ConfigSection) -> list[ProfileSection]:
        """The declared profiles, or one that uses every scheduling plugin there is."""
        if config.scheduling_profiles:
            return config.scheduling_profiles
        references = [
            PluginRefSection(plugin_ref=name)
            for name, plugin in self._plugins.items()
            if isinstance(plugin, Filter | Scorer | Picker)
        ]
        return [ProfileSection(name=DEFAULT_PROFILE, plugins=references)]

    def _check_references(self, profiles: Sequence[ProfileSection]) -> None:
        names: set[str] = set()
        for i, profile in enumerate(profiles):
            path = f"$.schedulingProfiles[{i}]"
            if not profile.name:
                self._findings.wrong(path, "SchedulingProfile must have a name")
            elif profile.name in names:
                self._findings.wrong(
                    path,
                    f"the name '{profile.name}' has been specified for more than one "
                    "SchedulingProfile",
                )
            names.add(profile.name)
            self._check_profile(profile, path)

    def _check_profile(self, profile: ProfileSection, path: str) -> None:
        pickers: list[Plugin] = []
        for i, reference in enumerate(profile.plugins or ()):
            place = f"{path}.plugins[{i}]"
            if reference.weight is not None and not isfinite(reference.weight):
                self._findings.wrong(f"{place}.weight", "expected a finite number")
            plugin = self._plugins.get(reference.plugin_ref)
            if not reference.plugin_ref:
                self._findings.wrong(
                    place,
                    f"SchedulingProfile '{profile.name}' plugins must have a plugin reference",
                )
            elif plugin is None:
                self._findings.wrong(
                    place, f"{reference.plugin_ref} is a reference to an undefined Plugin"
                )
            elif isinstance(plugin, Picker):
                pickers.append(plugin)
                if len(pickers) == 2:
                    self._findings.wrong(
                        place,
                        f"failed to set '{plugin}' as picker, already have a registered picker "
                        f"plugin '{pickers[0]}'",
                    )

    def _handler(self, profiles: Sequence[ProfileSection]) -> ProfileHandler:
        handlers = [p for p in self._plugins.values() if isinstance(p, ProfileHandler)]
        if len(handlers) > 1:
            self._findings.wrong(
                "$.plugins",
                f"only one profile handler is allowed. Both {handlers[0].name} and "
                f"{handlers[1].name} are profile handlers",
            )
        elif not handlers and len(profiles) > 1:
            self._findings.wrong("$.plugins", "no profile handler was specified")
        elif handlers and handlers[0].type == DEFAULT_HANDLER and len(profiles) > 1:
            self._findings.wrong(
                "$.schedulingProfiles",
                "single profile handler is intended to be used with a single profile, but multiple "
                "profiles were specified",
            )
        self._findings.stop_if_wrong()
        return handlers[0] if handlers else self._default(DEFAULT_HANDLER, ProfileHandler)

    def _default(self, type_name: str, role: type[P]) -> P:
        """A plugin that nobody declared; it never replaces one that bears its name."""
        declared = REGISTRY[type_name]
        made = declared.make(declared.params(), self._handle)
        assert isinstance(made, role)
        name = type_name
        while name in self._plugins:
            name += "-default"
        self._add(made, name)
        return made

    def _build_profiles(self, sections: Sequence[ProfileSection]) -> list[Profile]:
        pickers = [p for p in self._plugins.values() if isinstance(p, Picker)]
        shared: Picker | None = pickers[0] if pickers else None
        profiles: list[Profile] = []
        for section in sections:
            references = [(self._plugins[r.plugin_ref], r.weight) for r in section.plugins or ()]
            own = [plugin for plugin, _ in references if isinstance(plugin, Picker)]
            if not own and shared is None:
                shared = self._default(DEFAULT_PICKER, Picker)
            picker = own[0] if own else shared
            assert picker is not None
            profiles.append(
                Profile(
                    section.name,
                    filters=[plugin for plugin, _ in references if isinstance(plugin, Filter)],
                    scorers=[
                        WeightedScorer(plugin, 1.0 if weight is None else weight)
                        for plugin, weight in references
                        if isinstance(plugin, Scorer)
                    ],
                    picker=picker,
                    probe=self._handle.probe,
                )
            )
        return profiles

    def _saturation(self, config: ConfigSection) -> SaturationDetector | None:
        """The detector that is referred to, or one made from thresholds."""
        name, path = referenced_detector(config, self._plugins, self._findings)
        self._environment_notices += without_effect(self._environment, has_thresholds=not name)
        if not name:
            thresholds = read_thresholds(config.saturation_detector, self._findings)
            thresholds, lines = override_thresholds(thresholds, self._environment)
            self._environment_notices += lines
            return AnyRoomDetector(thresholds, self._handle)
        if name == DEFAULT_DETECTOR and name not in self._plugins:
            return self._default(DEFAULT_DETECTOR, SaturationDetector)
        plugin = self._plugins.get(name)
        if isinstance(plugin, SaturationDetector):
            return plugin
        reason = (
            "is a reference to an undefined Plugin"
            if plugin is None
            else "is no saturation detector"
        )
        self._findings.wrong(path, f"{name} {reason}")
        return None

    def _note_what_has_no_effect(self, flow_control: FlowControlSection | None) -> None:
        for field in msgspec.structs.fields(FlowControlSection):
            is_given = getattr(flow_control, field.name, None) is not None
            if is_given and field.name != "saturation_detector":
                self._findings.notice(
                    f"$.flowControl.{field.encode_name}", "has no effect in this version"
                )

    def _discovery(self, config: ConfigSection) -> Discovery | None:
        if config.data_layer is None or config.data_layer.discovery is None:
            return None
        name = config.data_layer.discovery.plugin_ref
        plugin = self._plugins.get(name)
        if isinstance(plugin, Discovery):
            return plugin
        reason = "is a reference to an undefined Plugin" if plugin is None else "is no discovery"
        self._findings.wrong("$.dataLayer.discovery.pluginRef", f"{name} {reason}")
        return None
