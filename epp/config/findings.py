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
MAX_TEXT = 500
# Comparing names takes long where they are many or long.
MAX_KNOWN = 500
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

    Paths are msgspec's: ``$.plugins[0].type``. What is absent stands where its parent does; a key
    that is spelt in another case is there, as parameters are read in any.
    """

    def __init__(self, file: str, at: Mapping[str, tuple[int, int]]) -> None:
        self.file = file
        self._at = at
        self._in_any_case = {path.lower(): place for path, place in at.items()}

    def of(self, path: str) -> tuple[int, int] | None:
        """Line and column of what is there; None for what is not."""
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
        """``value`` as this type; None, and an error for each part of it that does not fit."""
        try:
            return msgspec.convert(value, to, dec_hook=_convert_leaf)
        except msgspec.ValidationError as error:
            before, plain = self.errors, bare(to)
            if isinstance(value, dict) and hasattr(plain, "__struct_fields__"):
                self._convert_parts(value, plain, path)
            elif isinstance(value, list) and get_origin(plain) is list:
                for i, item in enumerate(value):
                    self.convert(item, get_args(plain)[0], f"{path}[{i}]")
            if self.errors == before:
                self._refuse(error, path)
            return None

    def _convert_parts(self, values: dict[str, Any], to: Any, path: str) -> None:
        """Tell of every key of a mapping that does not fit the struct."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(to)}
        for name, field in fields.items():
            if name not in values and field.required:
                self.error(path, "missing-value", f"`{name}` is required")
        for name, value in values.items():
            if name in fields:
                self.convert(value, fields[name].type, f"{path}.{name}")
            elif to.__struct_config__.forbid_unknown_fields:
                self.unknown_key(name, fields, path)

    def unknown_key(self, key: str, known: Iterable[str], path: str) -> None:
        """An error for a key that is none of ``known``."""
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
    known = sorted(name for name in known if len(name) <= MAX_WORD)
    if len(known) > MAX_KNOWN or len(word) > MAX_WORD:
        return ""
    by_lower = {name.lower(): name for name in known}
    if close := get_close_matches(word.lower(), by_lower, n=1):
        return f"; did you mean {by_lower[close[0]]!r}?"
    return f"; there are {', '.join(known)}" if 0 < len(known) <= 12 else ""


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space, cut off where it is very long."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


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
