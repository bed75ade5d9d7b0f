"""Which saturation detector a configuration asks for, in the spellings of both generations.

The 2025 release has thresholds at the top level, the newer one a reference to a plugin in
``flowControl``, and at the top level as a deprecated spelling of the same.

Differs: either spelling is accepted in either group; each Go program refuses the other's.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from epp.config.findings import Findings
from epp.config.schema import NEW_GROUP, ConfigSection, SaturationSection
from epp.goflags import parse_duration, spell_duration
from epp.saturation import Thresholds

DEFAULT_DETECTOR = "utilization-detector"

_OLD_PATH = "$.saturationDetector"
_NEW_PATH = "$.flowControl.saturationDetector.pluginRef"


def referenced_detector(
    config: ConfigSection, declared: Container[str], findings: Findings
) -> tuple[str, str]:
    """The name of the plugin to use, and where it is named; without name, thresholds are used.

    A reference in ``flowControl`` comes first, then what ``saturationDetector`` says. With neither,
    the newer group means its default plugin and the older one its default thresholds, unless the
    file declares that plugin, which the older release does not know.
    """
    old = config.saturation_detector or SaturationSection()
    thresholds = _thresholds_in(old)
    if old.plugin_ref and thresholds:
        findings.error(
            _OLD_PATH,
            "two-spellings",
            f"expected either pluginRef or thresholds ({', '.join(thresholds)}), not both",
        )
    new = config.flow_control and config.flow_control.saturation_detector
    if new and new.plugin_ref:
        if old.plugin_ref or thresholds:
            findings.warn(
                _OLD_PATH, "without-effect", "has no effect beside flowControl.saturationDetector"
            )
        return new.plugin_ref, _NEW_PATH
    if old.plugin_ref:
        findings.warn(
            f"{_OLD_PATH}.pluginRef",
            "deprecated-key",
            "is deprecated, use flowControl.saturationDetector.pluginRef",
        )
        return old.plugin_ref, f"{_OLD_PATH}.pluginRef"
    is_new = config.api_version == NEW_GROUP or DEFAULT_DETECTOR in declared
    return DEFAULT_DETECTOR if is_new and not thresholds else "", _NEW_PATH


def read_thresholds(section: SaturationSection | None, findings: Findings) -> Thresholds:
    """The thresholds; what lies outside its range means the default, as in the 2025 release."""
    default = Thresholds()
    if section is None:
        return default
    staleness, is_duration = 0.0, True
    if section.metrics_staleness_threshold is not None:
        try:
            staleness = parse_duration(section.metrics_staleness_threshold)
        except ValueError:
            is_duration = False
            findings.error(
                f"{_OLD_PATH}.metricsStalenessThreshold",
                "wrong-value",
                "expected a duration such as 200ms",
            )
    depth = section.queue_depth_threshold or 0
    ratio = section.kv_cache_util_threshold or 0.0
    is_right = {
        "queueDepthThreshold": section.queue_depth_threshold is None or depth > 0,
        "kvCacheUtilThreshold": section.kv_cache_util_threshold is None or 0 < ratio < 1,
        "metricsStalenessThreshold": section.metrics_staleness_threshold is None
        or staleness > 0
        or not is_duration,
    }
    for key, is_kept in is_right.items():
        if not is_kept:
            findings.warn(
                f"{_OLD_PATH}.{key}", "odd-value", "is outside its range: the default is used"
            )
    return Thresholds(
        queue_depth=depth if depth > 0 else default.queue_depth,
        kv_cache_ratio=ratio if 0 < ratio < 1 else default.kv_cache_ratio,
        staleness_seconds=staleness if staleness > 0 else default.staleness_seconds,
    )


def written_thresholds(thresholds: Thresholds) -> dict[str, object]:
    """Thresholds as in a file; what nobody set is left out."""
    written: dict[str, object] = {
        "queueDepthThreshold": thresholds.queue_depth,
        "kvCacheUtilThreshold": thresholds.kv_cache_ratio,
    }
    if thresholds.staleness_seconds is not None:
        written["metricsStalenessThreshold"] = spell_duration(thresholds.staleness_seconds)
    return written


def _thresholds_in(section: SaturationSection) -> list[str]:
    """The keys of the thresholds that are given."""
    return [
        field.encode_name
        for field in msgspec.structs.fields(section)
        if field.name != "plugin_ref" and getattr(section, field.name) is not None
    ]
