"""A YAML document as plain values that remember where they stood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000
MAX_NUMBER_CHARACTERS = 100

_MERGE_TAG = "tag:yaml.org,2002:merge"
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

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
        """One line that names the place and the rule; what is absent has its parent's line."""
        place = path.removeprefix("$").removeprefix(".")
        while path not in self.lines and path != "$":
            path = path[: max(path.rfind("."), path.rfind("["))] or "$"
        line = self.lines.get(path, 1)
        return one_line(f"{self.name}:{line}: {place + ': ' if place else ''}{rule}")


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space."""
    return " ".join(text.split())


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
        raise ConfigError([f"{name}: no YAML: {one_line(str(error))}"]) from None
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
        self._nodes = 0

    def read(self, node: yaml.Node, path: str) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
        return self._read_scalar(node)

    def _read_mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        """The mapping's own keys, then what it merges (``<<``): what is there first, stays."""
        values: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                is_list = isinstance(value_node, yaml.SequenceNode)
                merged += value_node.value if is_list else [value_node]
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            if key in values:
                self._wrong(key_node, f'key "{key}" already set in map')
            values[key] = self.read(value_node, f"{path}.{key}")
        for other in merged:
            if isinstance(other, yaml.MappingNode):
                for key, value in self.read(other, path).items():
                    values.setdefault(key, value)
            else:
                self._wrong(other, "only mappings can be merged")
        return values

    def _read_scalar(self, node: yaml.Node) -> Any:
        if node.tag in _NUMBER_TAGS and len(node.value) > MAX_NUMBER_CHARACTERS:
            self._wrong(node, "this number is too long")
            return None
        try:
            return self._loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except Exception:  # the library trusts explicit tags: `!!int ""` ends in an IndexError
            self._wrong(node, f"no {node.tag.rpartition(':')[2]}")
            return None

    def _wrong(self, node: yaml.Node, rule: str) -> None:
        self.problems.append(f"{self._name}:{node.start_mark.line + 1}: {one_line(rule)}")
