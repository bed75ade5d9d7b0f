"""The document as typed sections: its shape, its kind, its feature gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from epp.config.document import Document
from epp.config.findings import Findings, did_you_mean
from epp.config.schema import (
    KIND,
    NEW_GROUP,
    OLD_GROUP,
    ConfigSection,
    PluginSection,
    ProfileSection,
)

FLOW_CONTROL = "flowControl"
FEATURE_GATES = {FLOW_CONTROL: False, "haPopulateNonLeaderDatastore": True, "dataLayer": False}
"""The gates there are, and whether each is open when nothing is said."""

_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


def read_shape(document: Document, findings: Findings) -> ConfigSection:
    """The document in its types; each list entry on its own: no problem hides another.

    Raises:
        ConfigError: it is not of this shape.
    """
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        findings.error("$", "wrong-value", "expected a mapping at the top level")
        findings.stop_if_wrong()
    lists: dict[str, list[Any]] = {}
    rest = dict(value)
    for key, item_type in (("plugins", PluginSection), ("schedulingProfiles", ProfileSection)):
        items = rest.get(key)
        if isinstance(items, list):
            del rest[key]
            read = [
                findings.convert(item, item_type, f"$.{key}[{i}]") for i, item in enumerate(items)
            ]
            lists[key] = [item for item in read if item is not None]
    config = findings.convert(rest, ConfigSection, "$")
    findings.stop_if_wrong()
    assert config is not None  # otherwise there was an error
    if document.has_more:
        findings.warn("$", "more-documents", "only the first document is read")
    if not value:
        findings.warn("$", "empty-configuration", "nothing is configured: any endpoint is picked")
    return msgspec.structs.replace(
        config,
        plugins=lists.get("plugins", config.plugins),
        scheduling_profiles=lists.get("schedulingProfiles", config.scheduling_profiles),
    )


def check_kind(config: ConfigSection, findings: Findings) -> None:
    """Both groups are accepted, and a document that says nothing."""
    is_kind = config.kind in (None, KIND)
    if config.api_version in (None, OLD_GROUP, NEW_GROUP) and is_kind:
        return
    findings.error(
        "$.apiVersion" if is_kind else "$.kind",
        "wrong-kind",
        f'no kind "{config.kind or ""}" is registered for version "{config.api_version or ""}"; '
        f"expected {KIND} in {OLD_GROUP} or {NEW_GROUP}",
    )


def read_gates(gates: Sequence[str], findings: Findings) -> dict[str, bool]:
    """Which gates are open."""
    found = dict(FEATURE_GATES)
    for i, gate in enumerate(gates):
        path = f"$.featureGates[{i}]"
        name, _, value = gate.partition("=")
        setting = value.strip().lower() or "true"
        if name not in FEATURE_GATES:
            findings.error(
                path,
                "unknown-gate",
                f"{gate} is an unregistered Feature Gate{did_you_mean(name, FEATURE_GATES)}",
            )
        elif setting not in _TRUE | _FALSE:
            findings.error(
                path,
                "unknown-gate",
                f"{value} is not a valid value for the feature gate {name}; expected true or false",
            )
        else:
            found[name] = setting in _TRUE
            if found[name] != FEATURE_GATES[name]:
                findings.note(
                    path, "without-effect", f"feature gate {name} has no effect in this version"
                )
    return found
