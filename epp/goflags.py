"""Go-style command-line flags: the union of what Go's ``flag`` and ``pflag`` packages accept.

One or two dashes, ``--name=value`` or ``--name value``, ``-v4`` for a flag of one letter. A Boolean
flag takes no further argument; the last one of a repeated flag wins.

Differs: ``--flag false`` means what its author meant, with a warning; Go reads it as true and then
ignores the rest of the line. Arguments that are no flags are named in a warning, and parsing goes
on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from typing import TypeAlias

import msgspec

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | tuple[int, ...]

_MAX_INT = 2**63 - 1
_EXACT = Context(prec=400)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INT = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>(?:_?[0-9a-fA-F])+)|0[bB](?P<bin>(?:_?[01])+)"
    r"|0[oO]?(?P<oct>(?:_?[0-7])+)|(?P<dec>0|[1-9](?:_?[0-9])*))"
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_QUANTITY = re.compile(r"(\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([a-zA-Z]{0,2}|[eE][+-]?[0-9]{1,2})")
_MULTIPLES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** n for n, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** n for n, unit in enumerate("KMGTPE", 1)},
}


class Kind(StrEnum):
    """What a flag's value is; usage texts show it."""

    BOOL = "bool"
    INT = "int"
    STRING = "string"
    DURATION = "duration"
    QUANTITY = "quantity"
    STRINGS = "strings"
    INTS = "ints"


class Flag(msgspec.Struct, frozen=True):
    """One flag.

    ``default`` is written as on the command line; empty stands for none, false or zero. ``check``
    says what is wrong with a value that its kind allows, or None; it sees the text. A value of
    kind STRINGS or INTS is separated by commas and grows when the flag is repeated.
    """

    name: str
    kind: Kind
    default: str
    help: str
    check: Callable[[str], str | None] | None = None


class ParsedFlags(msgspec.Struct, frozen=True):
    """A value for every flag, the names of those that were given, and what to warn of.

    ``texts`` are the values as they are written on the command line, those not given included.
    """

    values: Mapping[str, Value]
    texts: Mapping[str, str]
    given: frozenset[str]
    warnings: tuple[str, ...]


class UsageError(Exception):
    """The command line cannot be understood; show this, then the usage, and exit with status 2."""


class HelpRequested(Exception):  # noqa: N818 - no error
    """The user asked for the usage text: show it and exit with status 0."""


def one_of(*choices: str, error: str) -> Callable[[str], str | None]:
    """A check for a closed set, whatever the case; ``error`` may mention ``{value}``."""
    allowed = frozenset(choices)
    return lambda text: None if text.lower() in allowed else error.format(value=text)


def parse(flags: Sequence[Flag], argv: Sequence[str]) -> ParsedFlags:
    """Read a command line without the program's name.

    Raises:
        UsageError: an unknown flag, a missing or a bad value.
        HelpRequested: ``-h`` or ``--help``.
    """
    known = {flag.name: flag for flag in flags}
    values = {flag.name: _default(flag) for flag in flags}
    texts = {flag.name: flag.default or _ABSENT[flag.kind] for flag in flags}
    given: set[str] = set()
    warnings: list[str] = []
    rest = list(reversed(argv))
    while rest:
        argument = rest.pop()
        if argument == "--":
            break
        if len(argument) < 2 or argument[0] != "-":
            warnings.append(f"ignored the argument {argument!r}: it belongs to no flag")
            continue
        flag, text = _find(known, argument)
        if text is None:
            text = _following(flag, rest, warnings)
        value = _read(flag, text)
        if isinstance(value, tuple) and flag.name in given:
            previous = values[flag.name]
            assert isinstance(previous, tuple)
            value = (*previous, *value)
            text = f"{texts[flag.name]},{text}"
        values[flag.name], texts[flag.name] = value, text
        given.add(flag.name)
    if rest:
        ignored = " ".join(repr(argument) for argument in reversed(rest))
        warnings.append(f"ignored everything after '--': {ignored}")
    return ParsedFlags(values=values, texts=texts, given=frozenset(given), warnings=tuple(warnings))


def usage(program: str, flags: Sequence[Flag]) -> str:
    """The text that explains every flag, in the order of their names."""
    lines = [f"Usage of {program}:"]
    for flag in sorted(flags, key=lambda flag: flag.name):
        kind = "" if flag.kind is Kind.BOOL else f" {flag.kind}"
        quoted = f'"{flag.default}"' if flag.kind is Kind.STRING else flag.default
        default = f" (default {quoted})" if flag.default not in ("", "false") else ""
        lines += [f"  --{flag.name}{kind}", f"    \t{flag.help}{default}"]
    return "\n".join(lines) + "\n"


def parse_int(text: str) -> int:
    """A Go integer literal: ``4``, ``0x4``, ``0b100``, ``0o4``, ``04``, ``1_000``.

    Raises:
        ValueError: it is none, or does not fit 64 bits.
    """
    match = _INT.fullmatch(text)
    if match is None or match.lastgroup is None:
        raise ValueError("parse error")
    number = int(match[match.lastgroup].replace("_", ""), _BASES[match.lastgroup])
    number = -number if match["sign"] == "-" else number
    if not -_MAX_INT - 1 <= number <= _MAX_INT:
        raise ValueError("value out of range")
    return number


def parse_duration(text: str) -> float:
    """The seconds of a Go duration: ``50ms``, ``1.5s``, ``-1m30s``, ``0``.

    Raises:
        ValueError: it is none; a number without unit is not.
    """
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0.0
    nanoseconds, position = 0, 0
    while position < len(unsigned):
        part = _DURATION_PART.match(unsigned, position)
        if part is None:
            raise ValueError("parse error")
        # Scaling before truncating keeps every digit that counts.
        nanoseconds += int(_EXACT.multiply(Decimal(part[1]), Decimal(_NANOSECONDS[part[2]])))
        position = part.end()
    if not position or nanoseconds > _MAX_INT:
        raise ValueError("parse error")
    return (-nanoseconds if text[0] == "-" else nanoseconds) / 1e9


def spell_duration(seconds: float) -> str:
    """A duration as ``parse_duration`` reads it, in one unit, to the nanosecond."""
    text = f"{seconds:.9f}s" if seconds >= 1 else f"{seconds * 1e3:.6f}ms"
    return re.sub(r"\.?0+(?=m?s)", "", text)


def parse_quantity(text: str) -> int:
    """The bytes of a Kubernetes quantity, with or without a ``B`` at its end: ``64Mi``, ``10MiB``.

    Raises:
        ValueError: it is none, negative, or does not fit 64 bits.
    """
    match = _QUANTITY.fullmatch(text[:-1] if text[-1:] in ("B", "b") else text)
    if match is None:
        raise ValueError("parse error")
    number, suffix = match[1], match[2]
    factor = _MULTIPLES.get(suffix)
    if factor is None:
        if len(suffix) < 2 or suffix[0] not in "eE" or suffix[-1].isalpha():
            raise ValueError("parse error")
        factor = Decimal(f"1e{suffix[1:]}")
    size = int(_EXACT.multiply(Decimal(number), factor).to_integral_value(ROUND_CEILING, _EXACT))
    if size > _MAX_INT:
        raise ValueError("value out of range")
    return size


def _find(known: Mapping[str, Flag], argument: str) -> tuple[Flag, str | None]:
    """The flag that an argument names, and the value it carries."""
    spelled = argument[2:] if argument.startswith("--") else argument[1:]
    if spelled[:1] in ("-", "=", ""):
        raise UsageError(f"bad flag syntax: {argument}")
    name, equals, text = spelled.partition("=")
    flag = known.get(name)
    if flag is not None:
        return flag, text if equals else None
    if name in ("h", "help"):
        raise HelpRequested
    short = known.get(spelled[0])
    is_number = spelled[1:2].isdigit() or spelled[1:2] in ("-", "+")
    if short is not None and short.kind is Kind.INT and is_number and argument[1] != "-":
        return short, spelled[1:]
    raise UsageError(f"flag provided but not defined: -{name}")


def _following(flag: Flag, rest: list[str], warnings: list[str]) -> str:
    """The value of a flag that carries none: most often the next argument."""
    if flag.kind is not Kind.BOOL:
        if not rest:
            raise UsageError(f"flag needs an argument: -{flag.name}")
        return rest.pop()
    if not rest or rest[-1].lower() not in ("true", "false"):
        return "true"
    text = rest.pop().lower()
    warnings.append(f"read '--{flag.name} {text}' as '--{flag.name}={text}': write it that way")
    return text


def _read(flag: Flag, text: str) -> Value:
    """A value as its flag's kind."""
    try:
        value = _READERS[flag.kind](text)
    except ValueError as error:
        described = (
            f'invalid boolean value "{text}" for -{flag.name}'
            if flag.kind is Kind.BOOL
            else f'invalid value "{text}" for flag -{flag.name}'
        )
        raise UsageError(f"{described}: {error}") from None
    problem = flag.check(text) if flag.check else None
    if problem is not None:
        raise UsageError(f'invalid value "{text}" for flag -{flag.name}: {problem}')
    return value


def _default(flag: Flag) -> Value:
    return _READERS[flag.kind](flag.default or _ABSENT[flag.kind])


def _parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("parse error")


def _parse_strings(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _parse_ints(text: str) -> tuple[int, ...]:
    return tuple([parse_int(part.strip()) for part in _parse_strings(text)])


_READERS: Mapping[Kind, Callable[[str], Value]] = {
    Kind.BOOL: _parse_bool,
    Kind.INT: parse_int,
    Kind.STRING: str,
    Kind.DURATION: parse_duration,
    Kind.QUANTITY: parse_quantity,
    Kind.STRINGS: _parse_strings,
    Kind.INTS: _parse_ints,
}
_ABSENT: Mapping[Kind, str] = {
    Kind.BOOL: "false",
    Kind.INT: "0",
    Kind.STRING: "",
    Kind.DURATION: "0",
    Kind.QUANTITY: "0",
    Kind.STRINGS: "",
    Kind.INTS: "",
}
