"""The configurations in a file: the file itself, or what the ConfigMaps in it hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import yaml

from epp.config.document import MAX_BYTES, Loader
from epp.config.findings import Finding
from epp.config.schema import KIND

MAX_PARTS = 100

_LINE_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")


class Part(msgspec.Struct, frozen=True):
    """A configuration inside a file: it begins after ``lines`` lines, indented by ``columns``.

    ``name`` is the key in the ConfigMap, empty where the file is the configuration. Where the text
    ``is_written_anew``, in quotes or folded, its lines are not those of the file: everything in it
    is said to stand where it begins.
    """

    text: str
    name: str = ""
    lines: int = 0
    columns: int = 0
    is_written_anew: bool = False

    def placed(self, finding: Finding) -> Finding:
        """A finding in the part as one in the file."""
        if not self.name:
            return finding
        line, column = (1, 1) if self.is_written_anew else (finding.line, finding.column)
        return msgspec.structs.replace(
            finding,
            line=line + self.lines,
            column=column + self.columns,
            place=f"{self.name}: {finding.place}" if finding.place else self.name,
        )


def parts(text: str) -> list[Part]:
    """The configurations in a text, at most ``MAX_PARTS``.

    The whole of it is one unless there is a ConfigMap in it.
    """
    if len(text) > MAX_BYTES or "ConfigMap" not in text:
        return [Part(text)]
    try:
        rows = _LINE_BREAK.split(text)
        held = (
            part
            for node in yaml.compose_all(text, Loader=Loader)
            if _value(node, "kind") == "ConfigMap"
            for part in _held_by(node, rows)
        )
        found = list(islice(held, MAX_PARTS))
    except (yaml.YAMLError, ValueError, RecursionError):
        return [Part(text)]  # the reader says what is wrong
    return found or [Part(text)]


def _held_by(manifest: yaml.Node, rows: Sequence[str]) -> Iterator[Part]:
    """The entries of a ConfigMap that are configurations."""
    for key, value in _pairs(_child(manifest, "data")):
        if isinstance(value, yaml.ScalarNode) and (
            KIND in value.value or "plugins:" in value.value
        ):
            start = value.start_mark
            is_literal = value.style == "|"
            yield Part(
                text=value.value,
                name=str(key.value),
                lines=start.line + 1 if is_literal else start.line,
                columns=_indentation(rows[start.line + 1 :]) - _indentation(value.value.split("\n"))
                if is_literal
                else start.column,
                is_written_anew=not is_literal,
            )


def _indentation(rows: Sequence[str]) -> int:
    """The spaces before the first row that is not blank."""
    for row in rows:
        if row.strip():
            return len(row) - len(row.lstrip(" "))
    return 0


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _child(node: yaml.Node, key: str) -> yaml.Node | None:
    for name, value in _pairs(node):
        if name.value == key:
            return value
    return None


def _value(node: yaml.Node, key: str) -> object:
    child = _child(node, key)
    return child.value if isinstance(child, yaml.ScalarNode) else None
