"""Raw flag values into options, all problems at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin

import msgspec

from epp.simulator.fakemetrics import FakeMetrics, decode_fake_metrics
from epp.simulator.flags import Flags, Kind, Raw, parse_duration
from epp.simulator.options import LoraModule, Nanoseconds, Options, check, flag_name

_FIELDS = {flag_name(field.name): field for field in msgspec.structs.fields(Options)}


class OptionsError(Exception):
    """The flags cannot be used; says everything that is wrong with them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def flag_kinds() -> dict[str, Kind]:
    """Every flag with the number of arguments it takes."""
    return {name: _kind(field.type) for name, field in _FIELDS.items()}


def read_options(flags: Flags, environment: Mapping[str, str]) -> Options:
    """Convert and check.

    Raises:
        OptionsError: a value is missing, of a wrong kind, out of bounds or contradicts another.
    """
    problems = list(flags.problems)
    values: dict[str, Any] = {}
    for name, texts in flags.values.items():
        try:
            values[_FIELDS[name].name] = _convert(_FIELDS[name].type, texts)
        except ValueError as error:
            problems.append(f"--{name}: {error}")
    if problems:
        raise OptionsError(problems)
    values.setdefault("hash_seed", environment.get("PYTHONHASHSEED", ""))
    options = Options(**values)
    problems = check(options)
    if problems:
        raise OptionsError(problems)
    return options


def merge(stronger: Flags, weaker: Flags) -> Flags:
    """Two sources of flags as one; a flag of the stronger one replaces the other's."""
    values: Raw = {**weaker.values, **stronger.values}
    return Flags(values, weaker.ignored + stronger.ignored, weaker.problems + stronger.problems)


def usage() -> str:
    """The text of ``--help``."""
    lines = ["Usage: epp simulator --model NAME [flags]", "", "Flags, with their defaults:"]
    for name, field in _FIELDS.items():
        default = field.default
        shown = "0" if _base(field.type) is Nanoseconds else str(default)
        lines.append(f"  --{name}" + ("" if shown in ("", "()", "None") else f"  {shown}"))
    return "\n".join(lines) + "\n"


def _kind(declared: Any) -> Kind:
    base = _base(declared)
    if base is bool:
        return Kind.SWITCH
    return Kind.LIST if base is tuple or base is FakeMetrics else Kind.SCALAR


def _base(declared: Any) -> Any:
    """The type without its bounds, without None, and a tuple without its items."""
    if hasattr(declared, "__metadata__"):
        declared = declared.__origin__
    if get_origin(declared) is tuple:
        return tuple
    if declared == FakeMetrics | None:
        return FakeMetrics
    return declared


def _convert(declared: Any, texts: Sequence[str]) -> Any:
    """The value of one flag.

    Raises:
        ValueError: the text is not one; also as msgspec's ValidationError.
    """
    base = _base(declared)
    if base in _READERS:
        return _READERS[base](texts)
    if base is tuple:
        if get_args(declared)[0] is LoraModule:
            return tuple(_lora_module(text) for text in texts)
        return msgspec.convert(texts, declared)
    (text,) = texts
    if base is str:
        return text
    value = msgspec.convert(text, declared, strict=False)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number is expected")
    return value


def _lora_module(text: str) -> LoraModule:
    """A JSON object, or vLLM's older ``name=path``."""
    name, equals, path = text.partition("=")
    if equals and not text.lstrip().startswith("{"):
        return LoraModule(name=name, path=path)
    return msgspec.json.decode(text, type=LoraModule)


_READERS: Mapping[Any, Callable[[Sequence[str]], Any]] = {
    Nanoseconds: lambda texts: Nanoseconds(parse_duration(texts[0])),
    FakeMetrics: lambda texts: decode_fake_metrics(texts) if texts else None,
}
