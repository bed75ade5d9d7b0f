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


def read_shape(document: Document, findings: Findings) -> tuple[ConfigSection, dict[str, str]]:
    """The document in its types, and the plugins left out as they are wrong: names and types.

    Each key and each list entry is read on its own, so that no problem hides another.

    Raises:
        ConfigError: the document is of another kind.
    """
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        findings.error("$", "wrong-value", "expected a mapping at the top level")
        value = {"plugins": []}
    elif isinstance(value.get("kind"), str) and value["kind"] not in ("", KIND):
        _refuse_kind("$.kind", value.get("kind"), value.get("apiVersion"), findings)
        findings.stop_if_wrong()  # what is something else altogether has other keys
    if document.has_more:
        findings.warn("$", "more-documents", "only the first document is read")
    if not value:
        findings.warn("$", "empty-configuration", "nothing is configured: any endpoint is picked")
    fields = {field.encode_name: field for field in msgspec.structs.fields(ConfigSection)}
    items: dict[str, type[Any]] = {"plugins": PluginSection, "schedulingProfiles": ProfileSection}
    read: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for key, given in value.items():
        field, path = fields.get(key), f"$.{key}"
        if field is None:
            findings.unknown_key(key, fields, "$")
        elif isinstance(given, list) and key in items:
            entries = [findings.convert(v, items[key], f"{path}[{i}]") for i, v in enumerate(given)]
            read[field.name] = entries
            if key == "plugins":
                refused = _refused(given, entries)
        elif has_other_than_a_list(value, key) and key in items:
            findings.convert(given, field.type, path)
            read[field.name] = [None]  # there are some, if only they could be read
        else:
            read[field.name] = findings.convert_rest(given, field.type, path)
    return ConfigSection(**read), refused


def has_other_than_a_list(value: object, key: str) -> bool:
    """Whether the document has something else under the key, as far as it is a mapping at all."""
    given = value.get(key) if isinstance(value, dict) else None
    return given is not None and not isinstance(given, list)


def _refused(given: Sequence[Any], entries: Sequence[Any]) -> dict[str, str]:
    """The names and types of those that could not be read, as far as they say so."""
    wrong = [g for g, entry in zip(given, entries, strict=True) if entry is None]
    types = [(g, str(g.get("type"))) for g in wrong if isinstance(g, dict)]
    return {str(g.get("name") or type_name): type_name for g, type_name in types}


def check_kind(config: ConfigSection, findings: Findings) -> None:
    """Both groups are accepted, and a document that says nothing."""
    if config.api_version not in (None, "", OLD_GROUP, NEW_GROUP):
        _refuse_kind("$.apiVersion", config.kind, config.api_version, findings)


def _refuse_kind(path: str, kind: object, version: object, findings: Findings) -> None:
    findings.error(
        path,
        "wrong-kind",
        f'no kind "{kind or ""}" is registered for version "{version or ""}"; '
        f"expected {KIND} in {OLD_GROUP} or {NEW_GROUP}",
    )


def read_gates(gates: Sequence[str], findings: Findings) -> dict[str, bool]:
    """Which gates are open."""
    found = dict(FEATURE_GATES)
    for i, gate in enumerate(gates):
        path = f"$.featureGates[{i}]"
        name, is_set, value = gate.partition("=")
        setting = value.strip().lower() if is_set else "true"
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
