"""What a file amounts to after defaulting, and where each value comes from.

The text is a configuration itself: loaded again it means the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import msgspec

from epp.config.findings import one_line
from epp.config.load import LoadedConfig
from epp.config.profiles import ProfilePlan
from epp.config.saturation import written_thresholds
from epp.config.schema import KIND, OLD_GROUP
from epp.config.shape import FEATURE_GATES
from epp.config.shelf import Entry
from epp.core.plugin import PositiveDuration
from epp.goflags import spell_duration
from epp.saturation import AnyRoomDetector

_COMMENT_COLUMN = 48
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_NO_STRINGS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})


def explain(config: LoadedConfig, *, comments: bool = True) -> str:
    """The effective configuration as YAML; a comment at a value says where it comes from."""
    return "".join(f"{line}\n" for line in _Explaining(config, comments).lines())


class _Explaining:
    """Writes one configuration, a line at a time."""

    def __init__(self, config: LoadedConfig, comments: bool) -> None:
        self._config = config
        self._comments = comments
        self._places = config.places

    def lines(self) -> Iterator[str]:
        """The lines of the whole text."""
        config = self._config
        group = config.section.api_version or OLD_GROUP
        yield self._line(f"apiVersion: {group}", self._from("$.apiVersion"))
        yield self._line(f"kind: {KIND}", self._from("$.kind"))
        yield from self._gates()
        yield "plugins:"
        for entry in config.entries.values():
            yield from self._plugin(entry)
        yield "schedulingProfiles:"
        for i, plan in enumerate(config.profiles):
            yield from self._profile(i, plan)
        yield from self._saturation()
        yield from self._request_handler()
        yield from self._data_layer()

    def _gates(self) -> Iterator[str]:
        changed = [
            f"{name}={str(is_open).lower()}"
            for name, is_open in self._config.gates.items()
            if is_open != FEATURE_GATES[name]
        ]
        if changed:
            yield self._line(f"featureGates: [{', '.join(changed)}]", self._from("$.featureGates"))

    def _plugin(self, entry: Entry) -> Iterator[str]:
        place = entry.path.removesuffix(".parameters")
        is_added = bool(entry.origin)
        origin = f"added: {entry.origin}" if is_added else self._from(place)
        yield self._line(f"- type: {entry.declared.name}", origin)
        name = entry.plugin.name
        if name != entry.declared.name:
            yield self._line(
                f"  name: {_scalar(name)}", "" if is_added else self._from(f"{place}.name")
            )
        values = parameters(entry.params)
        if values:
            yield "  parameters:"
            yield from self._values(values, entry.path, "    ", is_added=is_added)

    def _values(
        self, values: Mapping[str, Any], path: str, indent: str, *, is_added: bool
    ) -> Iterator[str]:
        for key, value in values.items():
            below = f"{path}.{key}"
            if isinstance(value, dict) and value:
                yield f"{indent}{_scalar(key)}:"
                yield from self._values(value, below, f"{indent}  ", is_added=is_added)
            else:
                origin = "" if is_added and self._places.of(below) is None else (self._from(below))
                yield self._line(f"{indent}{_scalar(key)}: {_scalar(value)}", origin)

    def _profile(self, number: int, plan: ProfilePlan) -> Iterator[str]:
        path = f"$.schedulingProfiles[{number}]"
        origin = f"added: {plan.origin}" if plan.origin else self._from(path)
        yield self._line(f"- name: {_scalar(plan.name)}", origin)
        yield "  plugins:"
        for i, use in enumerate(plan.uses):
            place = f"{path}.plugins[{i}]"
            is_there = not plan.origin and self._places.of(place) is not None
            origin = self._from(place) if is_there else f"added: {use.origin}" if use.origin else ""
            yield self._line(f"  - pluginRef: {_scalar(use.plugin.name)}", origin)
            if use.weight is not None:
                given = self._from(f"{place}.weight") if is_there else "default"
                yield self._line(f"    weight: {_weight(use.weight)}", given)

    def _saturation(self) -> Iterator[str]:
        detector = self._config.saturation
        if isinstance(detector, AnyRoomDetector):
            yield "saturationDetector:"
            for key, value in written_thresholds(detector.thresholds).items():
                yield self._line(f"  {key}: {value}", self._from(f"$.saturationDetector.{key}"))
            return
        yield "flowControl:"
        yield "  saturationDetector:"
        path = "$.flowControl.saturationDetector.pluginRef"
        yield self._line(f"    pluginRef: {_scalar(detector.name)}", self._from(path))

    def _request_handler(self) -> Iterator[str]:
        parsers = [p for p in self._config.parsers if p in self._config.plugins]
        if parsers:
            yield "requestHandler:"
            yield "  parsers:"
        for i, parser in enumerate(parsers):
            origin = self._from(f"$.requestHandler.parsers[{i}].pluginRef")
            yield self._line(f"  - pluginRef: {_scalar(parser.name)}", origin)

    def _data_layer(self) -> Iterator[str]:
        layer, discovery = self._config.data_layer, self._config.discovery
        if discovery is None and not layer.sources and layer.has_defaults:
            return
        yield "dataLayer:"
        if not layer.has_defaults:
            yield self._line("  injectDefaults: false", self._from("$.dataLayer.injectDefaults"))
        if discovery is not None:
            yield "  discovery:"
            origin = self._from("$.dataLayer.discovery.pluginRef")
            yield self._line(f"    pluginRef: {_scalar(discovery.name)}", origin)
        if layer.sources:
            yield "  sources:"
        for i, use in enumerate(layer.sources):
            origin = self._from(f"$.dataLayer.sources[{i}]")
            yield self._line(f"  - pluginRef: {_scalar(use.source.name)}", origin)
            if use.extractors:
                yield "    extractors:"
            for extractor in use.extractors:
                yield f"    - pluginRef: {_scalar(extractor.name)}"

    def _from(self, path: str) -> str:
        at = self._places.of(path)
        return "default" if at is None else f"{self._places.file}:{at[0]}"

    def _line(self, text: str, origin: str) -> str:
        if not self._comments or not origin:
            return text
        return f"{text:<{_COMMENT_COLUMN - 2}}  # {_printable(one_line(origin))}"


def parameters(params: msgspec.Struct) -> dict[str, Any]:
    """Parameters as in YAML, defaults included; those that are unset are left out."""
    names = zip(params.__struct_encode_fields__, params.__struct_fields__, strict=True)
    values = {key: getattr(params, field) for key, field in names}
    return {key: _written(value) for key, value in values.items() if value is not None}


def _written(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return parameters(value)
    if isinstance(value, PositiveDuration):
        return spell_duration(value)
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return msgspec.to_builtins(value, enc_hook=str)  # names of plugins are strings


def _scalar(value: object) -> str:
    """A value in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_scalar(k)}: {_scalar(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NO_STRINGS:
        return value
    return _printable(msgspec.json.encode(value).decode())


def _weight(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else _number(value)


def _number(value: float) -> str:
    """A number that YAML reads as one: with a point, and a sign in the exponent."""
    if not isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        return digits
    digits = digits if "." in digits else f"{digits}.0"
    return f"{digits}e{int(exponent):+03d}"


def _printable(text: str) -> str:
    """JSON is YAML, but for characters that YAML wants escaped."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
