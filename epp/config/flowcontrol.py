"""The flow-control section: checked, though nothing but its saturation detector is used."""

from __future__ import annotations

import re

import msgspec

from epp.config.findings import Findings
from epp.config.schema import BandSection, FlowControlSection
from epp.goflags import parse_duration

_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
_PATH = "$.flowControl"


def check_flow_control(
    section: FlowControlSection | None, findings: Findings, *, is_on: bool
) -> None:
    """Refuse values that cannot be meant, and say of the others that they have no effect.

    Source: llm-d-router v0.10, pkg/epp/config/loader/flowcontrol.go.
    """
    if section is None:
        return
    _check_sizes(section, _PATH, findings)
    for key in ("default_request_ttl", "no_endpoint_request_ttl"):
        _check_duration(section, key, findings)
    priorities: set[int] = set()
    for i, band in enumerate(section.priority_bands or ()):
        _check_sizes(band, f"{_PATH}.priorityBands[{i}]", findings)
        if band.priority is None:
            findings.error(f"{_PATH}.priorityBands[{i}]", "missing-value", "`priority` is required")
            continue
        if band.priority in priorities:
            findings.error(
                f"{_PATH}.priorityBands[{i}].priority",
                "duplicate-name",
                f"priority {band.priority} has two bands",
            )
        priorities.add(band.priority)
    for key in ("default_priority_band", "default_negative_priority_band"):
        if (band := getattr(section, key)) is not None:
            _check_sizes(band, f"{_PATH}.{_encoded(key)}", findings)
    why = "this version has no flow control" if is_on else "the feature gate flowControl is off"
    for field in msgspec.structs.fields(FlowControlSection):
        if field.name != "saturation_detector" and getattr(section, field.name) is not None:
            findings.note(f"{_PATH}.{field.encode_name}", "without-effect", f"has no effect: {why}")


def _check_sizes(section: FlowControlSection | BandSection, path: str, findings: Findings) -> None:
    for key in ("max_bytes", "max_requests"):
        value = getattr(section, key)
        if value is None:
            continue
        place = f"{path}.{_encoded(key)}"
        match = _QUANTITY.fullmatch(str(value))
        if match is None:
            findings.error(place, "wrong-value", "expected a quantity such as 500 or 1Gi")
        elif match["sign"] == "-":
            findings.error(place, "wrong-value", f"must be non-negative, got {value}")


def _check_duration(section: FlowControlSection, key: str, findings: Findings) -> None:
    value = getattr(section, key)
    if value is None:
        return
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = -1.0
    if seconds < 0:
        (name,) = (f.encode_name for f in msgspec.structs.fields(section) if f.name == key)
        findings.error(
            f"{_PATH}.{name}", "wrong-value", "expected a duration of 0s or more such as 60s"
        )


def _encoded(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)
