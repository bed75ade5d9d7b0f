from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from epp.config.document import MAX_BYTES
from epp.config.findings import Finding, Severity
from epp.config.manifest import MAX_PARTS, Part, parts

CONFIG = "plugins:\n- type: nope\n"
HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n"


def placed(text: str, line: int = 2, column: int = 3) -> list[tuple[str, int, int, str]]:
    """Each part's name, and where a finding of this line and column is in the file."""
    finding = Finding("f", line, column, Severity.ERROR, "plugins[0]", "wrong", "x")
    found = [part.placed(finding) for part in parts(text)]
    return [
        (part.name, f.line, f.column, f.place) for part, f in zip(parts(text), found, strict=True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        CONFIG,
        "# a ConfigMap\n" + CONFIG,
        "kind: ConfigMap",
        "kind: ConfigMap\ndata:",
        "kind: ConfigMap\ndata: [1]",
        HEAD + "  other.yaml: |\n    a: 1\n",
        HEAD + "  x: [plugins]\n",
        "kind: ConfigMap\ndata: {a: ]",
        "- ConfigMap",
        "kind: Secret\ndata: {a: 'plugins: []'} # no ConfigMap",
        "kind: ConfigMap " + "x" * MAX_BYTES,
        "[" * 5000 + "ConfigMap",
    ],
)
def test_a_file_that_holds_no_other_is_the_configuration(text: str) -> None:
    assert parts(text) == [Part(text)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (HEAD + "  c.yaml: |\n    plugins:\n    - type: nope\n", (8, 7)),
        (HEAD + "  c.yaml: |-  # why\n      plugins:\n      - type: nope\n", (8, 9)),
        (HEAD + "  c.yaml:\n    |\n    plugins:\n    - type: nope\n", (9, 7)),
        (HEAD + "  c.yaml: |\n\n    # more\n    plugins:\n    - type: nope\n", (8, 7)),
        (HEAD + "  c.yaml: |2\n      plugins:\n      - type: nope\n", (8, 7)),
        (
            HEAD.replace("\n", "\r\n") + "  c.yaml: |\r\n    plugins:\r\n    - type: nope\r\n",
            (8, 7),
        ),
        (HEAD + '  c.yaml: "plugins:\\n- type: nope\\n"\n', (6, 11)),
        (HEAD + "  c.yaml: 'plugins:\n\n    - type: nope'\n", (6, 11)),
        (HEAD + "  c.yaml: >\n    plugins:\n\n    - type: nope\n", (6, 11)),
        ('{"kind": "ConfigMap", "data": {"c.yaml": "plugins: []"}}', (1, 42)),
    ],
)
def test_a_finding_is_placed_in_the_file(text: str, place: tuple[int, int]) -> None:
    assert placed(text) == [("c.yaml", *place, "c.yaml: plugins[0]")]


def test_the_whole_of_a_part_has_the_name_of_its_key() -> None:
    (part,) = parts(HEAD + "  c.yaml: |\n    plugins: []\n")
    assert part.placed(Finding("f", 1, 1, Severity.ERROR, "", "x", "y")).place == "c.yaml"


def test_every_entry_of_every_document_that_is_a_configuration_is_one() -> None:
    first = HEAD + "  a: |\n    plugins: []\n  b: |\n    x: 1\n  c: |\n    plugins: []\n"
    second = HEAD + "  d: |\n    kind: EndpointPickerConfig\n"
    found = placed(f"{first}---\nkind: Service\n---\n{second}", 1, 1)
    assert [(name, line) for name, line, _, _ in found] == [("a", 7), ("c", 11), ("d", 21)]


def test_only_so_many_parts_are_looked_at() -> None:
    text = HEAD + "".join(f"  c{i}: 'plugins:'\n" for i in range(MAX_PARTS + 5))
    assert len(parts(text)) == MAX_PARTS


@given(st.lists(st.sampled_from(["plugins:", "- type: x", "# a", "", "  "]), min_size=1))
def test_what_a_literal_holds_stands_where_it_says(lines: list[str]) -> None:
    text = "plugins:\n" + "\n".join(lines) + "\n"
    manifest = yaml.safe_dump({"kind": "ConfigMap", "data": {"c": text}}, default_style="|")
    rows = manifest.splitlines()
    for part in parts(manifest):
        for i, line in enumerate(part.text.splitlines(), start=1):
            if line.strip() and not part.is_written_anew:
                at = part.placed(Finding("f", i, 1, Severity.ERROR, "", "", ""))
                assert rows[at.line - 1][at.column - 1 :].startswith(line)


@given(st.text() | st.text("ConfigMap kind:data|>'\"\n -{}[]&*"))
def test_any_text_has_parts(text: str) -> None:
    assert parts("kind: ConfigMap\ndata: " + text)
