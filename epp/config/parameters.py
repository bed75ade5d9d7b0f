"""A plugin's parameters: from the values in a file to the struct that its type declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, get_args, get_origin

import msgspec

from epp.config.findings import Findings, bare, did_you_mean
from epp.core.plugin import NoParams, Params, PluginName, PluginType

LARGEST = 2**63 - 1


def read_parameters(
    given: object, declared: PluginType, path: str, findings: Findings, *, is_strict: bool
) -> Params | None:
    """The parameters, or None with an error for each one that does not fit.

    Keys are matched in any case, as Go's JSON decoder does. Unknown ones are errors when
    ``is_strict``, else they are ignored with a warning. JSON has no number that is not finite.
    """
    before = findings.errors
    values = _Keys(declared, findings, is_strict=is_strict).top(given, path)
    params = findings.convert(values, declared.params, path)
    if params is None:
        return None
    for key, text in params.problems():
        findings.error(f"{path}.{key}", "wrong-value", text)
    if findings.errors > before:
        return None
    for key, text in params.hints():
        findings.warn(f"{path}.{key}", "odd-value", text)
    return params


def plugin_names(params: msgspec.Struct) -> Iterator[tuple[str, PluginName]]:
    """The plugins that parameters name: the key, dotted where it is nested, and the name."""
    for key, field in zip(params.__struct_encode_fields__, params.__struct_fields__, strict=True):
        value = getattr(params, field)
        if isinstance(value, PluginName):
            if value:
                yield key, value
        elif isinstance(value, msgspec.Struct):
            for below, name in plugin_names(value):
                yield f"{key}.{below}", name


class _Keys:
    """Brings keys into the spelling of the struct, at every depth."""

    def __init__(self, declared: PluginType, findings: Findings, *, is_strict: bool) -> None:
        self._declared = declared
        self._findings = findings
        self._is_strict = is_strict

    def top(self, given: object, path: str) -> dict[str, Any]:
        """The parameters by name; a plugin that takes none may be given anything leniently."""
        if given is None:
            return {}
        if isinstance(given, dict):
            return self._mapping(given, self._declared.params, path)
        if self._declared.params is NoParams and not self._is_strict:
            self._findings.warn(
                path, "unknown-parameter", f"{self._declared.name} ignores its parameters"
            )
        else:
            self._findings.error(path, "wrong-value", "expected a mapping of parameters")
        return {}

    def _mapping(self, values: Mapping[str, Any], to: Any, path: str) -> dict[str, Any]:
        fields = {field.encode_name.lower(): field for field in msgspec.structs.fields(to)}
        known: dict[str, Any] = {}
        for key, value in values.items():
            field = fields.get(key.lower())
            if field is None:
                self._unknown(key, [f.encode_name for f in fields.values()], path)
            elif value is not None or field.required:  # null is the same as nothing
                known[field.encode_name] = self._value(value, field.type, f"{path}.{key}")
        return known

    def _value(self, value: object, to: Any, path: str) -> object:
        to = bare(to)
        if isinstance(value, dict) and isinstance(to, type) and issubclass(to, msgspec.Struct):
            return self._mapping(value, to, path)
        if isinstance(value, list) and get_origin(to) in (list, tuple):
            item = get_args(to)[0]
            return [self._value(v, item, f"{path}[{i}]") for i, v in enumerate(value)]
        if isinstance(value, float) and not isfinite(value):
            self._findings.error(path, "wrong-value", "expected a finite number")
        elif isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST:
            self._findings.error(path, "wrong-value", "expected at most 64 bits")
        return value

    def _unknown(self, key: str, known: list[str], path: str) -> None:
        type_name = self._declared.name
        if self._is_strict:
            text = f'unknown field "{key}", no parameter of {type_name}'
            self._findings.error(
                f"{path}.{key}", "unknown-parameter", text + did_you_mean(key, known)
            )
        else:
            text = f"{type_name} ignores this parameter" + did_you_mean(key, known)
            self._findings.warn(f"{path}.{key}", "unknown-parameter", text)
