"""Label selectors, in the syntax of Kubernetes.

Source: Kubernetes v1.35, apimachinery pkg/labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

_KEY = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[a-zA-Z0-9](?:[-_.a-zA-Z0-9]*[a-zA-Z0-9])?"
_VALUE = r"(?:[a-zA-Z0-9](?:[-_.a-zA-Z0-9]*[a-zA-Z0-9])?)?"
_REQUIREMENT = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<absent_key>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})"
    r"|\s*(?P<order>[<>])\s*(?P<number>-?[0-9]+)"
    r"|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*"
)
_VALUES = re.compile(rf"\s*{_VALUE}\s*(?:,\s*{_VALUE}\s*)*")
_LONGEST = 63


class SelectorError(ValueError):
    """The text is no selector; says from where on."""


class Requirement(msgspec.Struct, frozen=True):
    """What one label must be: ``in`` or ``notin`` values, ``exists``, ``absent``, ``<``, ``>``."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels fulfils it."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
        (bound,) = self.values
        if value is None or len(value) > _LONGEST or not value.isdecimal():
            return False
        return int(value) < int(bound) if self.operator == "<" else int(value) > int(bound)


class Selector(msgspec.Struct, frozen=True):
    """Matches objects that fulfil every requirement; without any it matches all."""

    requirements: Sequence[Requirement] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Selector:
        """Selects the objects that have all of these labels."""
        return cls(
            tuple(Requirement(key, "in", frozenset({labels[key]})) for key in sorted(labels))
        )

    @classmethod
    def parse(cls, text: str) -> Selector:
        """``app=vllm,env in (a,b),tier!=x,gpu,!spot,size>3``.

        Raises:
            SelectorError: it is none.
        """
        requirements: list[Requirement] = []
        at = 0
        while True:
            match = _REQUIREMENT.match(text, at)
            if match is None:
                raise SelectorError(f"expected a requirement at {text[at:]!r}")
            requirements.append(_requirement(match))
            at = match.end()
            if at == len(text):
                return cls(tuple(requirements))
            if text[at] != ",":
                raise SelectorError(f"expected a comma at {text[at:]!r}")
            at += 1


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        return Requirement(match["absent_key"], "absent")
    key = match["key"]
    if match["order"]:
        return Requirement(key, match["order"], frozenset({_short(match["number"])}))
    if match["operator"]:
        operator = "notin" if match["operator"] == "!=" else "in"
        return Requirement(key, operator, frozenset({_short(match["value"])}))
    if match["set"]:
        if not _VALUES.fullmatch(match["values"]):
            raise SelectorError(f"expected label values in {match['values']!r}")
        values = frozenset(_short(value.strip()) for value in match["values"].split(","))
        return Requirement(key, match["set"], values)
    return Requirement(key, "exists")


def _short(value: str) -> str:
    if len(value) > _LONGEST:
        raise SelectorError(f"the value {value!r} is longer than {_LONGEST} characters")
    return value
