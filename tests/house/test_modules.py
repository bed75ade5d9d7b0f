from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import epp.plugins
from epp.core.plugin import REGISTRY

epp.plugins.load()

PACKAGE = Path(epp.plugins.__file__).parents[1]
TESTS = Path(__file__).parents[1]
GENERATED = PACKAGE / "extproc" / "pb"
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if GENERATED not in path.parents]
# Rooms whose tests mirror them file by file.
MIRRORED = (
    *("core", "plugins", "scheduling", "prefixcache", "datastore", "config", "flags", "http2"),
    "tokens",
    "affinity",
    "tls",
    "kube",
    "discovery",
    "own",
)
MAX_LINES = 400


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_first_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    first = docstring.split("\n\n")[0].replace("\n", " ")
    assert re.search(r"[.?!]$", first), first


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_has_one_subject(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    "path", [p for p in sorted(PACKAGE.rglob("*")) if p.suffix in (".py", ".pyi", ".md")], ids=name
)
def test_nothing_outside_the_repository_is_spoken_of(path: Path) -> None:
    found = re.findall(r"\.\./shared|/work/|/home/\w+|/tmp/\w+", path.read_text())
    assert found == []


@pytest.mark.parametrize("type_name", sorted(REGISTRY))
def test_a_plugin_type_names_its_class_and_its_file(type_name: str) -> None:
    declared = [
        (path, node.name)
        for path in (PACKAGE / "plugins").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and re.search(rf'@plugin\(\s*"{type_name}"', head(path, node))
    ]
    ((path, class_name),) = declared
    words = type_name.split("-")
    assert class_name.lower() == "".join(words)
    assert path.stem in ("_".join(words), "_".join(words[:-1]))


def head(path: Path, node: ast.ClassDef) -> str:
    """The lines of a class's decorators."""
    first = min([decorator.lineno for decorator in node.decorator_list], default=node.lineno)
    return "\n".join(path.read_text().splitlines()[first - 1 : node.lineno - 1])


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.stem != "__init__" and p.parent != PACKAGE], ids=name
)
def test_a_room_of_the_middle_has_its_tests_file_by_file(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    if relative.parts[0] in MIRRORED:
        assert (TESTS / relative.parent / f"test_{path.name}").exists()
