"""A YAML document as plain values that remember where they stood."""

from __future__ import annotations

import contextlib
import re
from math import isfinite
from typing import Any, ClassVar

import msgspec
import yaml

from epp.config.findings import ConfigError, Finding, Places, Severity, one_line

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000
MAX_NUMBER_CHARACTERS = 100

_MERGE_TAG = "tag:yaml.org,2002:merge"
_BOOL_TAG = "tag:yaml.org,2002:bool"
_INT_TAG = "tag:yaml.org,2002:int"
_FLOAT_TAG = "tag:yaml.org,2002:float"
_OCTAL = re.compile(r"^([-+]?)0(?=[0-7])")

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_Base):  # type: ignore[misc]
    """Reads plain scalars as Go's YAML does: ``1e3`` is a number, ``y`` true, ``1:20`` a text.

    Source: sigs.k8s.io/yaml, which both Go pickers read with.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _regexp, _first in (
    (_BOOL_TAG, r"y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON", "yYtToO"),
    (_BOOL_TAG, r"n|N|no|No|NO|false|False|FALSE|off|Off|OFF", "nNfFoO"),
    (
        _INT_TAG,
        r"[-+]?(0|0[oO]?[0-7_]+|0[bB][01_]+|0[xX][0-9a-fA-F_]+|[1-9][0-9_]*)",
        "-+0123456789",
    ),
    (_FLOAT_TAG, r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    (_FLOAT_TAG, r"\.(nan|NaN|NAN)|[-+]?\.(inf|Inf|INF)", "-+."),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_MERGE_TAG, r"<<", "<"),
):
    Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_regexp})\Z"), list(_first))


class Document(msgspec.Struct, frozen=True):
    """The document's value, and the place of everything in it.

    ``has_more`` is whether the text has further documents, which nobody reads.
    """

    value: Any
    places: Places
    has_more: bool = False


def read_document(text: str, name: str) -> Document:
    """Parse the first YAML (or JSON) document of ``text``; nothing but comments gives None.

    Raises:
        ConfigError: not YAML, a key given twice, too large, or aliases that blow up.
    """
    reader = _Reader(name)
    if len(text) > MAX_BYTES:
        raise reader.refuse(1, 1, "too-large", f"larger than {MAX_BYTES} bytes")
    try:
        value = reader.read_text(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise reader.refuse(line, column, "no-yaml", f"no YAML: {_problem(error)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise reader.refuse(1, 1, "no-yaml", f"no YAML: {error}") from None
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(value, Places(name, reader.at), reader.has_more)


class _Reader:
    """Walks YAML nodes, keeps their places and finds repeated keys."""

    def __init__(self, name: str) -> None:
        self.at: dict[str, tuple[int, int]] = {}
        self.has_more = False
        self.problems: list[Finding] = []
        self._loader: Any = None
        self._name = name
        self._nodes = 0

    def refuse(self, line: int, column: int, rule: str, text: str) -> ConfigError:
        """An error, besides what was found before."""
        self._found(line, column, rule, text)
        return ConfigError(self.problems)

    def read_text(self, text: str) -> Any:
        """The value of the first document."""
        self._loader = Loader(text)
        try:
            node = self._loader.get_node() if self._loader.check_node() else None
            value = None if node is None else self.read(node, "$")
            with contextlib.suppress(yaml.YAMLError):
                self.has_more = self._loader.check_node()
            return value
        finally:
            self._loader.dispose()

    def read(self, node: yaml.Node, path: str) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values")
        self.at.setdefault(path, _place(node))
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
                self._wrong(key_node, "duplicate-key", f'key "{key}" already set in map')
            self.at.setdefault(f"{path}.{key}", _place(key_node))
            values[key] = self.read(value_node, f"{path}.{key}")
        for other in merged:
            if isinstance(other, yaml.MappingNode):
                for key, value in self.read(other, path).items():
                    values.setdefault(key, value)
            else:
                self._wrong(other, "no-yaml", "only mappings can be merged")
        return values

    def _read_scalar(self, node: yaml.Node) -> Any:
        is_number = node.tag in (_INT_TAG, _FLOAT_TAG)
        if is_number and len(node.value) > MAX_NUMBER_CHARACTERS:
            self._wrong(node, "wrong-value", "this number is too long")
            return None
        try:
            if is_number:
                return _number(node.value, node.tag)
            if node.tag == _BOOL_TAG and node.value.lower() in ("y", "n"):
                return node.value in ("y", "Y")
            return self._loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except Exception:  # the library trusts explicit tags: `!!int ""` ends in an IndexError
            self._wrong(node, "wrong-value", f"no {node.tag.rpartition(':')[2]}")
            return None

    def _wrong(self, node: yaml.Node, rule: str, text: str) -> None:
        self._found(*_place(node), rule, text)

    def _found(self, line: int, column: int, rule: str, text: str) -> None:
        self.problems.append(
            Finding(self._name, line, column, Severity.ERROR, "", one_line(text), rule)
        )


def _number(text: str, tag: str) -> int | float | str:
    """A number; one that is too large for a float is a text, as in Go.

    Raises:
        ValueError: it is none.
    """
    plain = text.replace("_", "")
    if tag == _INT_TAG:
        return int(_OCTAL.sub(r"\g<1>0o", plain), 0)
    if plain.lower().lstrip("+-") in (".inf", ".nan"):
        return float(plain.replace(".", ""))
    number = float(plain)
    return number if isfinite(number) else text


def _problem(error: yaml.MarkedYAMLError) -> str:
    """What is wrong, and where that began which is unfinished."""
    text, begin, end = str(error.problem), error.context_mark, error.problem_mark
    if error.context and begin and end and begin.line != end.line:
        return f"{text} {error.context} that begins in line {begin.line + 1}"
    return text


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
