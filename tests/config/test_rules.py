"""Each rule has its page; its examples do what the page says."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import epp.config
from epp.config.check import check, parser, run
from epp.config.hazards import RULES
from epp.config.manifest import Part
from epp.core.plugin import REGISTRY

ROOM = Path(epp.config.__file__).parent
PAGES = {path.stem: path for path in sorted((ROOM / "rules").iterdir())}
SOURCES = [*sorted(ROOM.glob("*.py")), ROOM.parent / "discovery" / "file.py"]
TELLERS = {"error", "warn", "note", "finding", "refuse", "_wrong", "_found"}
ID = re.compile(r"[a-z]+(-[a-z]+)+")
EXAMPLE = re.compile(r"^(Wrong|Right):\n\n```yaml\n(.*?)```$", re.DOTALL | re.MULTILINE)


def told_in(source: str) -> Iterator[str]:
    """The rules that are given to whatever tells findings."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        for given in node.args if name in TELLERS else ():
            if isinstance(given, ast.Constant) and ID.fullmatch(str(given.value)):
                yield str(given.value)


def examples(word: str) -> list[tuple[str, str]]:
    return [
        (rule, text)
        for rule, path in PAGES.items()
        for kind, text in EXAMPLE.findall(path.read_text())
        if kind == word
    ]


def rules_of(rule: str, text: str) -> set[str]:
    """What is found; experimental plugins are allowed unless they are what the page is about."""
    allowed = rule != "experimental-type"
    return {f.rule for f in check(Part(text), "c", REGISTRY, allow_experimental=allowed).findings}


def options(*arguments: str) -> argparse.Namespace:
    return parser().parse_args(arguments)


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    told = {rule for path in SOURCES for rule in told_in(path.read_text())}
    assert {path.name for path in PAGES.values()} == {f"{r}.md" for r in told | RULES.keys()}


@pytest.mark.parametrize("rule", PAGES)
def test_a_page_has_a_title_and_few_lines(rule: str) -> None:
    text = PAGES[rule].read_text()
    assert re.match(r"# \S.*\n\n\S", text)
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_hazard_tells_of_the_pickers_in_go(rule: str) -> None:
    text = PAGES[rule].read_text()
    assert re.search(r"2025 release|Go pickers?|[Aa]ll pickers", text)


@pytest.mark.parametrize(("rule", "text"), examples("Wrong"), ids=lambda value: value[:20])
def test_a_wrong_example_breaks_its_rule(rule: str, text: str) -> None:
    assert rule in rules_of(rule, text)


@pytest.mark.parametrize(("rule", "text"), examples("Right"), ids=lambda value: value[:20])
def test_a_right_example_loads_and_keeps_its_rule(rule: str, text: str) -> None:
    checked = check(Part(text), "c", REGISTRY, allow_experimental=rule != "experimental-type")
    assert checked.config is not None, checked.findings
    assert rule not in rules_of(rule, text)


@pytest.mark.parametrize("rule", PAGES)
def test_the_page_is_printed(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(options("--rule", rule), REGISTRY) == 0
    assert capsys.readouterr().out == PAGES[rule].read_text()


@pytest.mark.parametrize("rule", ["nope", "", "../rules/no-yaml", "no-yaml.md", "no-yaml/", "-"])
def test_a_rule_that_is_none_is_told_with_those_there_are(
    rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options(f"--rule={rule}"), REGISTRY) == 2
    assert capsys.readouterr().out == ""
