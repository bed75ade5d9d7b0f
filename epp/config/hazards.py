"""What is right but hardly meant, or means something else to another picker.

Each rule looks at a loaded configuration; its page in ``rules/`` tells the story.

Source: the 2025 release and llm-d-router v0.10 where they contradict each other or misbehave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from epp.config.explain import parameters
from epp.config.findings import Finding, Severity
from epp.config.load import LoadedConfig
from epp.config.older import BYTE_PRODUCER, IN_BYTES
from epp.config.schema import NEW_GROUP, PluginSection
from epp.config.shelf import Entry
from epp.core.data import LATENCY_PREDICTIONS
from epp.core.plugin import (
    Admitter,
    Filter,
    Picker,
    PreRequest,
    ResponseHeaderProcessor,
    ResponseObserver,
    Scorer,
)
from epp.goflags import parse_duration
from epp.saturation import DEFAULT_STALENESS_SECONDS


class Hazard(NamedTuple):
    """One thing to say: how loud, where, and what."""

    severity: Severity
    path: str
    text: str


_WARNING, _NOTE = Severity.WARNING, Severity.NOTE


def hazards(config: LoadedConfig) -> list[Finding]:
    """Everything that the rules find, in the order of the file."""
    found = [
        config.places.finding(hazard.severity, hazard.path, rule, hazard.text)
        for rule, look in RULES.items()
        for hazard in look(config)
    ]
    return sorted(found, key=lambda finding: (finding.line, finding.column))


def _picker_first(config: LoadedConfig) -> Iterator[Hazard]:
    for i, profile in enumerate(config.section.scheduling_profiles or ()):
        has_picker = False
        for j, reference in enumerate((profile and profile.plugins) or ()):
            plugin = config.entries[reference.plugin_ref].plugin
            has_picker = has_picker or isinstance(plugin, Picker)
            if has_picker and isinstance(plugin, Scorer) and reference.weight is None:
                yield Hazard(
                    _NOTE,
                    f"$.schedulingProfiles[{i}].plugins[{j}]",
                    "a scorer without weight after the picker: 1 here, a crash in the 2025 release",
                )


def _weights(config: LoadedConfig) -> Iterator[tuple[str, float]]:
    for i, profile in enumerate(config.section.scheduling_profiles or ()):
        for j, reference in enumerate((profile and profile.plugins) or ()):
            is_scorer = isinstance(config.entries[reference.plugin_ref].plugin, Scorer)
            if is_scorer and reference.weight is not None:
                yield f"$.schedulingProfiles[{i}].plugins[{j}].weight", reference.weight


def _fractional_weight(config: LoadedConfig) -> Iterator[Hazard]:
    if config.section.api_version == NEW_GROUP:
        return
    for path, weight in _weights(config):
        if weight != int(weight):
            yield Hazard(_NOTE, path, "the 2025 release refuses weights that are not whole")


def _useless_weight(config: LoadedConfig) -> Iterator[Hazard]:
    for path, weight in _weights(config):
        if weight == 0:
            yield Hazard(_WARNING, path, "with a weight of 0 the scorer has no say")
        elif weight < 0:
            yield Hazard(_WARNING, path, "a negative weight prefers what the scorer likes least")


def _other_generation(config: LoadedConfig) -> Iterator[Hazard]:
    section = config.section
    if section.api_version == NEW_GROUP:
        return
    for key, value in (
        ("flowControl", section.flow_control),
        ("dataLayer", section.data_layer),
        ("requestHandler", section.request_handler),
    ):
        if value is not None:
            yield Hazard(
                _NOTE, f"$.{key}", f"the 2025 release has no such section; {NEW_GROUP} has it"
            )


def _saturation_shape(config: LoadedConfig) -> Iterator[Hazard]:
    section, is_new = config.section.saturation_detector, config.section.api_version == NEW_GROUP
    if section is None:
        return
    if is_new and section.plugin_ref is None:
        yield Hazard(
            _WARNING,
            "$.saturationDetector",
            "thresholds belong to the older group; the newer Go picker refuses them: use the "
            "parameters of utilization-detector",
        )
    elif not is_new and section.plugin_ref is not None:
        yield Hazard(
            _NOTE, "$.saturationDetector.pluginRef", "the 2025 release knows only thresholds here"
        )


def _prefix_parameters(config: LoadedConfig) -> Iterator[tuple[str, str]]:
    """The parameters in bytes that are given to a prefix-cache-scorer: path and key."""
    for path, section in _declared(config):
        if section.type == "prefix-cache-scorer" and isinstance(section.parameters, dict):
            for key in section.parameters:
                if str(key).lower() in IN_BYTES:
                    yield f"{path}.parameters.{key}", str(key)


def _prefix_in_bytes(config: LoadedConfig) -> Iterator[Hazard]:
    if config.section.api_version == NEW_GROUP:
        for path, _ in _prefix_parameters(config):
            yield Hazard(
                _WARNING,
                path,
                "gives the scorer an index of its own, in bytes; the newer Go picker refuses it: "
                "use approx-prefix-cache-producer",
            )


def _block_size_unit(config: LoadedConfig) -> Iterator[Hazard]:
    for path, key in _prefix_parameters(config):
        if key.lower() == "blocksize":
            yield Hazard(
                _NOTE, path, "is in bytes; in approx-prefix-cache-producer it is in tokens"
            )


def _partial_block(config: LoadedConfig) -> Iterator[Hazard]:
    types = {entry.declared.name: entry for entry in config.entries.values()}
    both = (BYTE_PRODUCER, "approx-prefix-cache-producer")
    if all(name in types for name in both):
        yield Hazard(
            _WARNING,
            types[both[1]].path.removesuffix(".parameters"),
            "counts a prompt's last, partial block, while the index in bytes of another scorer "
            "drops it: their scores differ for short prompts",
        )


def _removed_gate(config: LoadedConfig) -> Iterator[Hazard]:
    for i, gate in enumerate(config.section.feature_gates or ()):
        if gate.partition("=")[0] == "dataLayer":
            yield Hazard(
                _WARNING, f"$.featureGates[{i}]", "is gone; the newer Go picker refuses it"
            )


def _declaration_order(config: LoadedConfig) -> Iterator[Hazard]:
    hooks = (PreRequest, ResponseHeaderProcessor, ResponseObserver)
    called = [e for e in config.entries.values() if not e.origin and isinstance(e.plugin, hooks)]
    if len(called) > 1:
        yield Hazard(
            _NOTE,
            called[1].path.removesuffix(".parameters"),
            "is called after those before it; the 2025 release calls them in any order",
        )
    if not config.section.scheduling_profiles:
        filters = [
            e for e in config.entries.values() if not e.origin and isinstance(e.plugin, Filter)
        ]
        if len(filters) > 1:
            yield Hazard(
                _NOTE,
                filters[1].path.removesuffix(".parameters"),
                "filters run in this order; in a profile that the 2025 release makes, in any",
            )


def _short_staleness(config: LoadedConfig) -> Iterator[Hazard]:
    section = config.section.saturation_detector
    given = section and section.metrics_staleness_threshold
    if given and 0 < parse_duration(given) < DEFAULT_STALENESS_SECONDS:
        yield Hazard(
            _WARNING,
            "$.saturationDetector.metricsStalenessThreshold",
            "is less than four scrapes of 50 ms: a late scrape counts as a full endpoint",
        )


def _own(config: LoadedConfig) -> list[Entry]:
    return [entry for entry in config.entries.values() if entry.declared.origin]


def _clamped_scores(config: LoadedConfig) -> Iterator[Hazard]:
    for entry in _own(config):
        if isinstance(entry.plugin, Scorer):
            yield Hazard(
                _NOTE,
                entry.path.removesuffix(".parameters"),
                f"scores of {entry.plugin.name} are clamped to 0..1, and NaN is 0",
            )


def _failing_plugin(config: LoadedConfig) -> Iterator[Hazard]:
    for entry in _own(config):
        yield Hazard(
            _NOTE,
            entry.path.removesuffix(".parameters"),
            f"{entry.plugin.name} has no say in a decision where it raises or takes too long",
        )


def _several_endpoints(config: LoadedConfig) -> Iterator[Hazard]:
    for entry in config.entries.values():
        many = parameters(entry.params).get("maxNumOfEndpoints")
        if isinstance(entry.plugin, Picker) and isinstance(many, int) and many > 1:
            yield Hazard(
                _NOTE,
                f"{entry.path}.maxNumOfEndpoints",
                "prefix caches learn of the first endpoint only, whoever serves the request",
            )


def _byte_index(config: LoadedConfig) -> list[Entry]:
    return [e for e in config.entries.values() if e.declared.name == BYTE_PRODUCER]


def _prefix_gaps(config: LoadedConfig) -> Iterator[Hazard]:
    for entry in _byte_index(config):
        yield Hazard(
            _NOTE,
            entry.path.removesuffix(".parameters"),
            "counts blocks that an endpoint has after one that it lacks, as the 2025 release does",
        )


def _chat_hashing(config: LoadedConfig) -> Iterator[Hazard]:
    for entry in _byte_index(config):
        yield Hazard(
            _NOTE,
            entry.path.removesuffix(".parameters"),
            "chats are cut into blocks as the JSON that Go writes, not as the client sent them",
        )


def _shed_status(config: LoadedConfig) -> Iterator[Hazard]:
    for entry in config.entries.values():
        if isinstance(entry.plugin, Admitter):
            yield Hazard(
                _NOTE,
                entry.path.removesuffix(".parameters"),
                "a refusal is answered with 429; the newer Go picker answers 500",
            )


def _no_predictions(config: LoadedConfig) -> Iterator[Hazard]:
    made = {key: plugin.name for plugin in config.plugins for key in plugin.produces}
    others = [name for key, name in made.items() if key.name == LATENCY_PREDICTIONS.name]
    for entry in config.entries.values():
        for key in entry.plugin.may_consume:
            if key.name == LATENCY_PREDICTIONS.name and key not in made:
                theirs = f" ({', '.join(others)} makes others)" if others else ""
                yield Hazard(
                    _WARNING,
                    entry.path.removesuffix(".parameters"),
                    f"{entry.plugin.name} goes by the latency predictions of {key.producer}, which "
                    f"nobody in this file makes{theirs}: it does without",
                )


def _parameter_case(config: LoadedConfig) -> Iterator[Hazard]:
    for path, section in _declared(config):
        entry = config.entries.get(section.name or section.type)
        if entry is None or not isinstance(section.parameters, dict):
            continue
        known = {
            key.lower(): key for key in [*entry.params.__struct_encode_fields__, *IN_BYTES.values()]
        }
        for key in section.parameters:
            right = known.get(str(key).lower(), key)
            if right != key:
                yield Hazard(_NOTE, f"{path}.parameters.{key}", f"is usually spelt {right}")


def _declared(config: LoadedConfig) -> Iterator[tuple[str, PluginSection]]:
    for i, section in enumerate(config.section.plugins or ()):
        if section is not None:
            yield f"$.plugins[{i}]", section


RULES: dict[str, Callable[[LoadedConfig], Iterator[Hazard]]] = {
    "picker-before-scorer": _picker_first,
    "other-generation": _other_generation,
    "saturation-shape": _saturation_shape,
    "prefix-in-bytes": _prefix_in_bytes,
    "block-size-unit": _block_size_unit,
    "partial-block": _partial_block,
    "removed-gate": _removed_gate,
    "fractional-weight": _fractional_weight,
    "useless-weight": _useless_weight,
    "declaration-order": _declaration_order,
    "short-staleness": _short_staleness,
    "clamped-scores": _clamped_scores,
    "failing-plugin": _failing_plugin,
    "several-endpoints": _several_endpoints,
    "prefix-gaps": _prefix_gaps,
    "shed-status": _shed_status,
    "parameter-case": _parameter_case,
    "chat-hashing": _chat_hashing,
    "no-predictions": _no_predictions,
}
