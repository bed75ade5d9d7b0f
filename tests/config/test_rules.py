"""Every rule has a page, and the examples on the pages do what they say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import epp.config
import epp.plugins
from epp.config.check import check
from epp.config.hazards import RULES
from epp.config.manifest import Part
from epp.core.plugin import REGISTRY

epp.plugins.load()

ROOM = Path(epp.config.__file__).parent
PAGES = {path.stem: path.read_text() for path in sorted((ROOM / "rules").glob("*.md"))}
SOURCES = [*sorted(ROOM.glob("*.py")), ROOM.parent / "discovery" / "file.py"]
TELLING = {"error", "warn", "note", "refuse", "finding", "_wrong", "_found"}
RULE = re.compile(r"[a-z]+(-[a-z]+)+")
EXAMPLES = [
    (rule, kind, text)
    for rule, page in PAGES.items()
    for kind, text in re.findall(r"^```yaml (wrong|right)\n(.*?)^```", page, re.DOTALL | re.M)
]


def told_in(path: Path) -> set[str]:
    """The rules that a module tells findings by."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [call for call in calls if getattr(call.func, "attr", "") in TELLING]
    return {
        argument.value
        for call in named
        for argument in call.args
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and RULE.fullmatch(argument.value)
    }


def rules_of(text: str) -> set[str]:
    return {
        finding.rule
        for finding in check(Part(text), "f", REGISTRY, allow_experimental=False).findings
    }


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    told = set(RULES).union(*(told_in(path) for path in SOURCES))
    assert told == set(PAGES)


@pytest.mark.parametrize("rule", PAGES)
def test_a_page_begins_with_its_rule_and_says_what_it_means(rule: str) -> None:
    title, _, rest = PAGES[rule].partition("\n\n")
    assert title == f"# {rule}"
    assert len(rest.split("```")[0].split()) >= 10


@pytest.mark.parametrize(("rule", "kind", "text"), EXAMPLES)
def test_a_wrong_example_breaks_its_rule_and_a_right_one_does_not(
    rule: str, kind: str, text: str
) -> None:
    assert (rule in rules_of(text)) == (kind == "wrong")


def test_examples_are_rarely_missing() -> None:
    without = set(PAGES) - {rule for rule, _, _ in EXAMPLES}
    assert without == {
        "broken-plugin",
        "clamped-scores",
        "endpoints-file",
        "failing-plugin",
        "producer-cycle",
        "reference-cycle",
        "too-large",
    }
