"""Command line and YAML into raw values, one list of strings per flag.

A list-valued flag takes all following arguments up to the next one that starts with ``--``;
``--flag=value`` gives exactly one value. YAML keys are flag names.

Differs: unknown flags are ignored with a warning, so that a manifest for vLLM can be pointed here.

Source: llm-d-inference-sim v0.7.1, configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec
import yaml

_SCALE = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)
_LONGEST_NANOSECONDS = 2**63 - 1

Raw = dict[str, list[str]]


class Kind(StrEnum):
    """How many arguments a flag takes."""

    SWITCH = "switch"
    SCALAR = "scalar"
    LIST = "list"


class Flags(msgspec.Struct):
    """Raw values by flag name, and what was ignored or wrong."""

    values: Raw = msgspec.field(default_factory=dict)
    ignored: list[str] = msgspec.field(default_factory=list)
    problems: list[str] = msgspec.field(default_factory=list)


def parse_arguments(arguments: Sequence[str], kinds: Mapping[str, Kind]) -> Flags:
    """Split a command line; a repeated scalar flag: the last one wins."""
    flags = Flags()
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        name, equals, text = argument.lstrip("-").partition("=")
        kind = kinds.get(name) if _is_flag(argument) else None
        following = _following(arguments, position + 1)
        if kind is None:
            is_flag = argument.startswith("-")
            flags.ignored.append(argument)
            used = 0 if equals or not is_flag else len(following)
        elif equals:
            _add(flags.values, name, kind, [text])
            used = 0
        else:
            used = _used(kind, following)
            if kind is Kind.SCALAR and not used:
                flags.problems.append(f"--{name}: a value is missing")
            _add(flags.values, name, kind, following[:used])
        position += 1 + used
    return flags


def parse_yaml(text: str, kinds: Mapping[str, Kind]) -> Flags:
    """Read a configuration file; its values are spelled as on the command line."""
    flags = Flags()
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        flags.problems.append(f"--config: {' '.join(str(error).split())}")
        return flags
    if document is None:
        return flags
    if not isinstance(document, dict):
        flags.problems.append("--config: a mapping of flag names to values is expected")
        return flags
    for key, value in document.items():
        name = str(key)
        if name not in kinds:
            flags.ignored.append(name)
        elif value is not None:
            items = value if isinstance(value, list) else [value]
            if kinds[name] is not Kind.LIST and len(items) != 1:
                flags.problems.append(f"{name}: one value is expected")
                continue
            _add(flags.values, name, kinds[name], [_spelled(item) for item in items])
    return flags


def parse_duration(text: str) -> int:
    """The nanoseconds of a Go duration; a bare integer counts milliseconds.

    Raises:
        ValueError: it is neither, negative, or too long.
    """
    if re.fullmatch(r"\+?\d+", text, re.ASCII):
        nanoseconds = int(text) * _SCALE["ms"]
    else:
        parts = _DURATION_PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+"):
            raise ValueError("a duration such as 500ms or 1.5s is expected, not negative")
        nanoseconds = int(sum(Decimal(number) * _SCALE[unit] for number, unit in parts))
    if nanoseconds > _LONGEST_NANOSECONDS:
        raise ValueError("the duration is too long")
    return nanoseconds


def _is_flag(argument: str) -> bool:
    return argument.startswith("--") or re.match(r"-v(=|$)", argument) is not None


def _following(arguments: Sequence[str], start: int) -> list[str]:
    """The arguments from here to the next flag."""
    end = start
    while end < len(arguments) and not _is_flag(arguments[end]):
        end += 1
    return list(arguments[start:end])


def _used(kind: Kind, following: Sequence[str]) -> int:
    if kind is Kind.LIST:
        return len(following)
    if kind is Kind.SCALAR:
        return min(1, len(following))
    return int(bool(following) and following[0] in ("true", "false"))


def _add(values: Raw, name: str, kind: Kind, texts: list[str]) -> None:
    if kind is Kind.LIST:
        values.setdefault(name, []).extend(text for text in texts if text)
    elif kind is Kind.SWITCH:
        values[name] = texts or ["true"]
    elif texts:
        values[name] = texts


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return str(value)
