"""What is found wrong, or worth a notice, while a configuration is read."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from epp.config.document import ConfigError, Document
from epp.core.plugin import PositiveDuration
from epp.goflags import parse_duration

S = TypeVar("S")
_AT = re.compile(r"^(?P<rule>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)


class Findings:
    """Collects problems and notices, each with its line and its place (``$.plugins[0].type``)."""

    def __init__(self, document: Document) -> None:
        self.notices: list[str] = []
        self._document = document
        self._problems: list[str] = []

    def wrong(self, path: str, rule: str) -> None:
        """The configuration cannot be used because of this."""
        self._problems.append(self._document.problem(path, rule))

    def notice(self, path: str, rule: str) -> None:
        """The configuration can be used, but its author may want to know this."""
        self.notices.append(self._document.problem(path, rule))

    def stop_if_wrong(self) -> None:
        """Give up if there is a problem.

        Raises:
            ConfigError: with every problem so far.
        """
        if self._problems:
            raise ConfigError(self._problems)

    def convert(self, value: Any, to: type[S], path: str) -> S | None:
        """``value`` as this type; None, and a problem, where it is not."""
        try:
            return msgspec.convert(value, to, dec_hook=_convert_leaf)
        except msgspec.ValidationError as error:
            self.wrong(*_place_of(error, path))
            return None

    def convert_fields(self, values: dict[str, Any], to: type[S], path: str) -> S | None:
        """``values`` as this struct; None, and a problem for each field that does not fit."""
        is_right = True
        for field in msgspec.structs.fields(to):  # type: ignore[arg-type]  # it is a struct
            name = field.encode_name
            if name in values:
                before = len(self._problems)
                self.convert(values[name], field.type, f"{path}.{name}")
                is_right = is_right and len(self._problems) == before
            elif field.required:
                self.wrong(path, f"Object missing required field `{name}`")
                is_right = False
        return self.convert(values, to, path) if is_right else None


def _convert_leaf(to: type, value: object) -> object:
    """Types of our own, which msgspec asks for."""
    assert to is PositiveDuration
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError:
            seconds = 0.0
        if seconds > 0:
            return PositiveDuration(seconds)
    raise ValueError("expected a duration above 0 such as 200ms")


def _place_of(error: msgspec.ValidationError, path: str) -> tuple[str, str]:
    """The path and the rule of a msgspec message, which ends in "- at `$.path`"."""
    match = _AT.match(str(error))
    assert match is not None
    rule, below = match["rule"], match["path"] or ""
    below = below.removesuffix("[...]")
    unknown = re.match(r"Object contains unknown field `(.*)`", rule, re.DOTALL)
    if unknown:
        return f"{path}{below}.{unknown[1]}", f'unknown field "{unknown[1]}"'
    return f"{path}{below}", rule
