"""Label selectors, in both of Kubernetes' forms: as text, and as labels and expressions.

Source: Kubernetes v1.35, apimachinery pkg/labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

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
_LONGEST_PREFIX = 253


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


class LabelOperator(StrEnum):
    """How an expression compares a label with its values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"

    @property
    def takes_values(self) -> bool:
        """Whether the expression needs values; it may have none otherwise."""
        return self in (LabelOperator.IN, LabelOperator.NOT_IN)


_OPERATORS = {
    LabelOperator.IN: "in",
    LabelOperator.NOT_IN: "notin",
    LabelOperator.EXISTS: "exists",
    LabelOperator.DOES_NOT_EXIST: "absent",
}


class LabelExpression(msgspec.Struct, frozen=True):
    """What one label must be; a label that is absent is ``NotIn`` anything."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with it: the field, and the rule."""
        if not _is_key(self.key):
            yield "key", "expected the key of a label"
        if self.operator.takes_values and not self.values:
            yield "values", f"expected at least one for {self.operator}"
        elif self.values and not self.operator.takes_values:
            yield "values", f"expected none for {self.operator}"
        elif not all(map(_is_value, self.values)):
            yield "values", "expected values of a label"


class LabelSelector(msgspec.Struct, frozen=True, rename="camel"):
    """The structured form: matches what has all the labels and fulfils all the expressions."""

    match_labels: Mapping[str, str] = {}
    match_expressions: tuple[LabelExpression, ...] = ()

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with it: where, and the rule."""
        for key, value in self.match_labels.items():
            if not _is_key(key) or not _is_value(value):
                yield "matchLabels", f"expected keys and values of labels, not {key!r}: {value!r}"
        for i, expression in enumerate(self.match_expressions):
            for field, rule in expression.problems():
                yield f"matchExpressions[{i}].{field}", rule

    def compiled(self) -> Selector:
        """What does the matching."""
        expressions = [
            Requirement(e.key, _OPERATORS[e.operator], frozenset(e.values))
            for e in self.match_expressions
        ]
        return Selector((*Selector.of(self.match_labels).requirements, *expressions))


def _is_key(text: str) -> bool:
    prefix, _, name = text.rpartition("/")
    is_short = len(name) <= _LONGEST and len(prefix) <= _LONGEST_PREFIX
    return is_short and re.fullmatch(_KEY, text) is not None


def _is_value(text: str) -> bool:
    return len(text) <= _LONGEST and re.fullmatch(_VALUE, text) is not None


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
