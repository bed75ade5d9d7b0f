"""A YAML document as plain values that remember where they stood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigError(Exception):
    """The configuration cannot be used; one problem per entry, each with its place and rule."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Document(msgspec.Struct, frozen=True):
    """The document's value, and the line (from 1) of everything in it by its path.

    Paths are msgspec's: ``$.plugins[0].type``.
    """

    name: str
    value: Any
    lines: Mapping[str, int]

    def problem(self, path: str, rule: str) -> str:
        """One line that names the place and the rule."""
        line = self.lines.get(path)
        while line is None and path != "$":
            path_up = path[: max(path.rfind("."), path.rfind("["))]
            path = path_up or "$"
            line = self.lines.get(path)
        place = path.removeprefix("$").removeprefix(".")
        return f"{self.name}:{line or 1}: {place + ': ' if place else ''}{rule}"


def read_document(text: str, name: str) -> Document:
    """Parse the first YAML (or JSON) document of ``text``; nothing but comments gives None.

    Raises:
        ConfigError: not YAML, a key given twice, too large, or aliases that blow up.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError([f"{name}: larger than {MAX_BYTES} bytes"])
    try:
        loader = Loader(text)
        try:
            node = loader.get_node() if loader.check_node() else None
            reader = _Reader(loader, name)
            value = None if node is None else reader.read(node, "$")
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{name}:{line}: no YAML: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"{name}: no YAML: {' '.join(str(error).split())}"]) from None
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(name=name, value=value, lines=reader.lines)


class _Reader:
    """Walks YAML nodes, keeps their lines and finds repeated keys."""

    def __init__(self, loader: Any, name: str) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[str] = []
        self._loader = loader
        self._name = name

    def read(self, node: yaml.Node, path: str) -> Any:
        if len(self.lines) >= MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values")
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _read_mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        self._loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            line = key_node.start_mark.line + 1
            if key in values:
                self.problems.append(f'{self._name}:{line}: key "{key}" already set in map')
            values[key] = self.read(value_node, f"{path}.{key}")
        return values
