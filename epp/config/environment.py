"""Environment variables of the 2025 release that change or would change the configuration.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner and pkg/epp/util/env.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from epp.goflags import parse_duration
from epp.saturation import DEFAULT_STALENESS_SECONDS, Thresholds

WITHOUT_EFFECT = ("ENABLE_EXPERIMENTAL_FLOW_CONTROL_LAYER", "ENABLE_EXPERIMENTAL_DATALAYER_V2")


class _Override(msgspec.Struct, frozen=True):
    """A variable, the threshold that it sets, and what it is told to be when it is wrong."""

    variable: str
    key: str
    field: str
    read: Callable[[str], float]
    is_allowed: Callable[[Any], bool]
    rule: str
    default: str


def _read_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError("parse error")
    return int(text)


_DEFAULT = Thresholds()
_OVERRIDES = (
    _Override(
        variable="SD_QUEUE_DEPTH_THRESHOLD",
        key="queueDepthThreshold",
        field="queue_depth",
        read=_read_int,
        is_allowed=lambda depth: depth > 0,
        rule="a whole number above 0",
        default=str(_DEFAULT.queue_depth),
    ),
    _Override(
        variable="SD_KV_CACHE_UTIL_THRESHOLD",
        key="kvCacheUtilThreshold",
        field="kv_cache_ratio",
        read=float,
        is_allowed=lambda ratio: 0 < ratio < 1,
        rule="a number between 0 and 1",
        default=str(_DEFAULT.kv_cache_ratio),
    ),
    _Override(
        variable="SD_METRICS_STALENESS_THRESHOLD",
        key="metricsStalenessThreshold",
        field="staleness_seconds",
        read=parse_duration,
        is_allowed=lambda seconds: seconds > 0,
        rule="a duration above 0",
        default=f"{DEFAULT_STALENESS_SECONDS * 1000:.0f}ms",
    ),
)


def override_thresholds(
    thresholds: Thresholds, environment: Mapping[str, str]
) -> tuple[Thresholds, list[str]]:
    """The thresholds after the variables that are present, and a line for the log on each.

    A value that is no threshold means the default, whatever the file says.
    """
    changes: dict[str, float | None] = {}
    lines: list[str] = []
    for override in _OVERRIDES:
        text = environment.get(override.variable)
        if text is None:
            continue
        value = _value(override, text)
        if value is None:
            lines.append(
                f"{override.variable} is deprecated, and {text!r} is not {override.rule}: "
                f"the default of {override.default} is used"
            )
            value = getattr(_DEFAULT, override.field)
        else:
            lines.append(
                f"{override.variable} is deprecated, use saturationDetector.{override.key}: "
                f"overridden with {text}"
            )
        changes[override.field] = value
    return msgspec.structs.replace(thresholds, **changes), lines


def _value(override: _Override, text: str) -> float | None:
    try:
        value = override.read(text)
    except ValueError:
        return None
    return value if override.is_allowed(value) else None


def without_effect(environment: Mapping[str, str], *, has_thresholds: bool) -> list[str]:
    """A line for the log on each variable that is present and changes nothing.

    ``has_thresholds`` is whether there are thresholds for the variables to override.
    """
    overrides = [] if has_thresholds else [override.variable for override in _OVERRIDES]
    return [
        f"{variable} has no effect"
        for variable in (*overrides, *WITHOUT_EFFECT)
        if variable in environment
    ]
