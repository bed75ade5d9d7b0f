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

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # those that YAML counts


class Part(msgspec.Struct, frozen=True):
    """A configuration inside a file: it begins after ``lines`` lines, indented by ``columns``.

    ``name`` is the key in the ConfigMap, empty where the file is the configuration. Lines of a
    part that is not ``literal``, such as a text in quotes, are not those of the file.
    """

    text: str
    name: str = ""
    lines: int = 0
    columns: int = 0
    literal: bool = True

    def placed(self, finding: Finding) -> Finding:
        """A finding in the part as one in the file."""
        if not self.name:
            return finding
        return msgspec.structs.replace(
            finding,
            line=self.lines + (finding.line if self.literal else 1),
            column=self.columns + (finding.column if self.literal else 1),
            place=f"{self.name}: {finding.place}" if finding.place else self.name,
        )


def parts(text: str) -> list[Part]:
    """The configurations in a text, at most ``MAX_PARTS``.

    The whole of it is one unless there is a ConfigMap in it.
    """
    if len(text) > MAX_BYTES or "ConfigMap" not in text:
        return [Part(text)]
    try:
        rows = _BREAK.split(text)
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
            line, column = value.start_mark.line, value.start_mark.column
            literal = value.style == "|"
            yield Part(
                text=value.value,
                name=str(key.value),
                lines=line + 1 if literal else line,
                columns=_indentation(rows[line + 1 :], value.value) if literal else column,
                literal=literal,
            )


def _indentation(rows: Sequence[str], text: str) -> int:
    """How far a block is moved to the right: by what its first line with a text shows."""
    for row, line in zip(rows, _BREAK.split(text), strict=False):
        if line.strip():
            return len(row) - len(line)
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
