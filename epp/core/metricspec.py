"""Metric specs: which samples of a page are meant.

Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/backend/metrics and pkg/epp/datalayer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!=|!~|=)?\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_BARE = re.compile(r"[^,}\"']*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class MetricSpec(msgspec.Struct, frozen=True):
    """A metric's name and labels that a sample must have, with these values, beside any others."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> MetricSpec | None:
        """Read ``name`` or ``name{label=value,...}``, values quoted or not; empty gives None.

        Differs: the Go picker keeps quotes as part of the value, and refuses ``name{}``.

        Raises:
            ValueError: the text is no metric spec.
        """
        text = text.strip()
        if not text:
            return None
        name = _NAME.match(text)
        if name is None:
            raise ValueError(f"invalid metric spec {text!r}: does not start with a metric name")
        rest = text[name.end() :].lstrip()
        if not rest:
            return cls(name[0])
        if not rest.startswith("{"):
            raise ValueError(f"invalid metric spec {text!r}: unexpected {rest!r} after the name")
        try:
            return cls(name[0], tuple(_labels(rest)))
        except ValueError as error:
            raise ValueError(f"invalid metric spec {text!r}: {error}") from None

    def __str__(self) -> str:
        pairs = ",".join(f'{label}="{value}"' for label, value in self.labels)
        return f"{self.name}{{{pairs}}}" if pairs else self.name


def _labels(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of ``{label=value,...}``; a comma may follow the last one."""
    at = 1
    while not text[at:].lstrip().startswith("}"):
        label = _LABEL.match(text, at)
        if label is None:
            raise ValueError("expected a label name or } " + _where(text, at))
        if label[2] != "=":
            raise ValueError(f"expected = after label {label[1]!r}; no other operator is supported")
        value, at = _value(text, label.end())
        yield label[1], value
        separator = text[at:].lstrip()[:1]
        if separator == ",":
            at = text.index(",", at) + 1
        elif separator != "}":
            raise ValueError("expected , or } " + _where(text, at))
    end = text.index("}", at) + 1
    if text[end:]:
        raise ValueError(f"unexpected {text[end:]!r} after }}")


def _value(text: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        raw = quoted[1] if quoted[1] is not None else quoted[2]
        return _ESCAPE.sub(_unescape, raw), quoted.end()
    bare = _BARE.match(text, at)
    value = bare[0].strip() if bare else ""
    if not value or "=" in value:
        raise ValueError("expected one label value " + _where(text, at))
    return value, at + len(bare[0] if bare else "")


def _unescape(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]


def _where(text: str, at: int) -> str:
    rest = text[at:].strip()
    return f"at {rest!r}" if rest else "at the end"
