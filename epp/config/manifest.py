"""The configurations in a file: the file itself, or what the ConfigMaps in it hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import yaml

from epp.config.document import MAX_BYTES, Loader
from epp.config.findings import Finding
from epp.config.schema import KIND

MAX_PARTS = 100


class Part(msgspec.Struct, frozen=True):
    """A configuration inside a file: it begins after ``lines`` lines, indented by ``columns``.

    ``name`` is the key in the ConfigMap, empty where the file is the configuration.
    """

    text: str
    name: str = ""
    lines: int = 0
    columns: int = 0

    def placed(self, finding: Finding) -> Finding:
        """A finding in the part as one in the file."""
        if not self.name:
            return finding
        return msgspec.structs.replace(
            finding,
            line=finding.line + self.lines,
            column=finding.column + self.columns,
            place=f"{self.name}: {finding.place}" if finding.place else self.name,
        )


def parts(text: str) -> list[Part]:
    """The configurations in a text, at most ``MAX_PARTS``.

    The whole of it is one unless there is a ConfigMap in it.
    """
    if len(text) > MAX_BYTES or "ConfigMap" not in text:
        return [Part(text)]
    try:
        rows = text.splitlines()
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
            is_block = value.style in ("|", ">")
            first = value.start_mark.line + (1 if is_block else 0)
            yield Part(
                text=value.value,
                name=str(key.value),
                lines=first,
                columns=_indentation(rows[first:]) if is_block else value.start_mark.column,
            )


def _indentation(rows: Sequence[str]) -> int:
    for row in rows:
        if row.strip():
            return len(row) - len(row.lstrip())
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
