"""What is found wrong, or worth a notice, while a configuration is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from epp.core.plugin import PluginName, PositiveDuration
from epp.goflags import parse_duration

MAX_ERRORS = 200
MAX_KNOWN = 1000
MAX_WORD = 100

S = TypeVar("S")
_AT = re.compile(r"^(?P<rule>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_NO_STRING = re.compile(r"Expected `str( \| null)?`, got `(bool|int|float)`")


class Severity(StrEnum):
    """An error keeps the configuration from being used; a note is worth one look at most."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(msgspec.Struct, frozen=True):
    """One thing found: where, how bad, which rule.

    ``line`` and ``column`` count from 1; ``place`` is the path in the document, empty for the
    whole of it.
    """

    file: str
    line: int
    column: int
    severity: Severity
    place: str
    text: str
    rule: str

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return (
            f"{self.file}:{self.line}:{self.column}: {self.severity}: {place}{self.text} "
            f"[{self.rule}]"
        )


class ConfigError(Exception):
    """The configuration cannot be used; the findings say why, the harmless ones included."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=lambda finding: (finding.line, finding.column)))
        super().__init__("; ".join(self.problems))

    @property
    def problems(self) -> list[str]:
        """A line for each error."""
        return [str(f) for f in self.findings if f.severity is Severity.ERROR]


class Places:
    """Where everything in a document stands, by its path: line and column, from 1.

    Paths are msgspec's: ``$.plugins[0].type``. What is absent stands where its parent does; a
    parameter may be spelt in any case.
    """

    def __init__(self, file: str, at: Mapping[str, tuple[int, int]]) -> None:
        self.file = file
        self._at = at
        self._in_any_case = {path.lower(): place for path, place in at.items()}

    def of(self, path: str) -> tuple[int, int] | None:
        """Line and column of what is there; None of what is not."""
        return self._at.get(path) or self._in_any_case.get(path.lower())

    def finding(self, severity: Severity, path: str, rule: str, text: str) -> Finding:
        """Something to say about a path."""
        place = path.removeprefix("$").removeprefix(".")
        while (at := self.of(path)) is None and path != "$":
            path = path[: max(path.rfind("."), path.rfind("["), 0)] or "$"
        line, column = at or (1, 1)
        return Finding(self.file, line, column, severity, one_line(place), one_line(text), rule)


class Findings:
    """Collects what is found, each with its path (``$.plugins[0].type``) and its rule.

    ``errors`` is how many errors there are so far; after ``MAX_ERRORS`` nobody reads on, and
    ``ConfigError`` is raised by whoever finds one more.
    """

    def __init__(self, places: Places) -> None:
        self.errors = 0
        self._tellings = 0  # with those that were told before
        self._found: dict[Finding, None] = {}
        self._places = places

    @property
    def all(self) -> list[Finding]:
        """What was found, in that order, nothing twice."""
        return list(self._found)

    def error(self, path: str, rule: str, text: str) -> None:
        """The configuration cannot be used because of this."""
        self._add(Severity.ERROR, path, rule, text)

    def warn(self, path: str, rule: str, text: str) -> None:
        """The configuration can be used, but hardly does what its author thinks."""
        self._add(Severity.WARNING, path, rule, text)

    def note(self, path: str, rule: str, text: str) -> None:
        """The configuration can be used, but its author may want to know this."""
        self._add(Severity.NOTE, path, rule, text)

    def _add(self, severity: Severity, path: str, rule: str, text: str) -> None:
        self._tellings += 1
        finding = self._places.finding(severity, path, rule, text)
        if finding in self._found:
            return
        self._found[finding] = None
        if severity is Severity.ERROR:
            self.errors += 1
            if self.errors > MAX_ERRORS:
                raise ConfigError(self.all)

    def stop_if_wrong(self) -> None:
        """Give up if there is an error.

        Raises:
            ConfigError: with everything found so far.
        """
        if self.errors:
            raise ConfigError(self.all)

    def convert(self, value: Any, to: type[S], path: str) -> S | None:
        """``value`` as this type; None, and an error for everything in it that does not fit."""
        try:
            return msgspec.convert(value, to, dec_hook=_convert_leaf)
        except msgspec.ValidationError as error:
            before = self._tellings
            self._look_inside(value, to, path)
            if self._tellings == before:
                self._refuse(error, path)
            return None

    def convert_rest(self, value: Any, to: type[S], path: str) -> S | None:
        """As ``convert``; of a mapping with wrong parts what is right, so that it is judged too."""
        whole = self.convert(value, to, path)
        section = bare(to)
        if (
            whole is not None
            or not isinstance(value, dict)
            or not hasattr(section, "__struct_config__")
        ):
            return whole
        types = {field.encode_name: field.type for field in msgspec.structs.fields(section)}
        rest = {
            key: item
            for key, item in value.items()
            if key in types and self.convert(item, types[key], f"{path}.{key}") is not None
        }
        return self.convert(rest, to, path)

    def _look_inside(self, value: Any, to: Any, path: str) -> None:
        """Errors in the parts of a value: msgspec stops at the first one."""
        to = bare(to)
        is_of_one_type = get_origin(to) in (list, tuple) and get_args(to)[1:] in ((), (...,))
        if isinstance(value, list) and is_of_one_type:
            for i, item in enumerate(value):
                self.convert(item, get_args(to)[0], f"{path}[{i}]")
        elif isinstance(value, dict) and hasattr(to, "__struct_config__"):
            fields = {field.encode_name: field for field in msgspec.structs.fields(to)}
            for key, item in value.items():
                if key in fields:
                    self.convert(item, fields[key].type, f"{path}.{key}")
                elif to.__struct_config__.forbid_unknown_fields:
                    self.unknown_key(key, fields, path)
            for key, field in fields.items():
                if field.required and key not in value:
                    self.error(path, "missing-value", f"`{key}` is required")

    def unknown_key(self, key: str, known: Iterable[str], path: str) -> None:
        """An error: the mapping at ``path`` may not have this key."""
        text = f'unknown field "{key}"{did_you_mean(key, known)}'
        self.error(f"{path}.{key}", "unknown-key", text)

    def _refuse(self, error: msgspec.ValidationError, path: str) -> None:
        """A msgspec message ends in "- at `$.path`"."""
        match = _AT.match(str(error))
        assert match is not None
        text, path = match["rule"], path + (match["path"] or "").removesuffix("[...]")
        if _NO_STRING.match(text):
            self.error(
                path, "yaml-type", f"{text}: YAML reads yes, on and 12 as no text; put it in quotes"
            )
        else:
            self.error(path, "wrong-value", text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a refusal: what was probably meant, else what there is if that is little."""
    known = sorted(known)
    if len(known) > MAX_KNOWN or len(word) > MAX_WORD:
        return ""  # comparing takes time
    by_lower = {name.lower(): name for name in known}
    if close := get_close_matches(word.lower(), by_lower, n=1):
        return f"; did you mean {by_lower[close[0]]!r}?"
    if len(known) == 1:
        return f"; there is only {known[0]}"
    return f"; there are {', '.join(known)}" if 0 < len(known) <= 12 else ""


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space."""
    return " ".join(text.split())


def bare(to: Any) -> Any:
    """A type without annotations and without None."""
    if get_origin(to) is Annotated:
        return bare(get_args(to)[0])
    if get_origin(to) in (Union, UnionType):
        rest = [arg for arg in get_args(to) if arg is not NoneType]
        return bare(rest[0]) if len(rest) == 1 else to
    return to


def _convert_leaf(to: type, value: object) -> object:
    """Types of our own, which msgspec asks for."""
    if to is PluginName:
        if isinstance(value, str):
            return PluginName(value)
        raise ValueError("expected the name of a plugin")
    assert to is PositiveDuration
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError:
            seconds = 0.0
        if seconds > 0:
            return PositiveDuration(seconds)
    raise ValueError("expected a duration above 0 such as 200ms")
