from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.config.check import check
from epp.config.manifest import MAX_PARTS, parts
from epp.core.plugin import REGISTRY
from tests.config.told import OLD

LITERAL = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: plugins-config}
data:
  default-plugins.yaml: |
    kind: EndpointPickerConfig
    plugins:
    - type: nope
  other.yaml: |
    a: 1
  custom.yaml: |-

    kind: EndpointPickerConfig
    plugin: []
"""


def found(text: str) -> list[str]:
    """Where errors are, and the place: ``line:column place``."""
    return [
        f"{f.line}:{f.column} {f.place}"
        for part in parts(text)
        for f in check(part, "f", REGISTRY, allow_experimental=True).findings
        if f.severity == "error"
    ]


@pytest.mark.parametrize(
    "text", ["", "plugins: []", OLD, "kind: ConfigMap\ndata: {a: b}", "ConfigMap: [", "[ConfigMap]"]
)
def test_a_text_without_a_config_map_is_the_configuration(text: str) -> None:
    (part,) = parts(text)
    assert (part.text, part.name) == (text, "")


def test_each_configuration_in_a_config_map_is_a_part_with_its_places() -> None:
    assert [part.name for part in parts(LITERAL)] == ["default-plugins.yaml", "custom.yaml"]
    assert found(LITERAL) == [
        "8:7 default-plugins.yaml: plugins[0].type",
        "14:5 custom.yaml: plugin",
    ]


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ('"plugins:\\n- type: nope\\n"', ["4:6 a: plugins[0].type"]),
        ("'plugins: [{type: nope}]'", ["4:6 a: plugins[0].type"]),
        ("|2\n     plugins:\n     - type: nope", ["6:8 a: plugins[0].type"]),
        ("|  # why\n    # EndpointPickerConfig\n    plugins: 7", ["6:5 a: plugins"]),
        ("|\n\n\n       plugins: 7", ["7:8 a: plugins"]),
        (">\n    plugins:\n      - type: nope", ["4:6 a: plugins[0].type"]),
        ("|\n    plugins: ]", ["5:14 a"]),
    ],
)
def test_every_way_to_write_a_text_has_its_places(value: str, places: list[str]) -> None:
    assert found(f"# x\nkind: ConfigMap\ndata:\n  a: {value}\n") == places


def test_other_line_breaks_count_as_yaml_counts_them() -> None:
    assert found(LITERAL.replace("\n", "\r\n")) == found(LITERAL)
    assert found(LITERAL.replace("plugins-config", "'a\u2028b'"))[0].startswith("9:7 ")


def test_several_documents_may_hold_several_config_maps() -> None:
    text = f"{LITERAL}---\nkind: Service\n---\n{LITERAL}"
    first, second = found(LITERAL), found(text)[2:]
    assert found(text)[:2] == first
    assert second == ["25:7 default-plugins.yaml: plugins[0].type", "31:5 custom.yaml: plugin"]


def test_json_is_yaml() -> None:
    text = '{"kind": "ConfigMap",\n "data": {"a": "plugins: [{type: nope}]"}}'
    assert found(text) == ["2:16 a: plugins[0].type"]


@pytest.mark.parametrize(
    "text",
    [
        "kind: ConfigMap\ndata: [x]",
        "kind: ConfigMap\ndata: {? [a] : 'plugins: x'}",
        "kind: ConfigMap\ndata: {a: [plugins]}",
        "kind: ConfigMap\ndata: &a {b: *a}",
        "kind: [ConfigMap]",
        "kind: ConfigMap\n---\n]",
        "ConfigMap",
    ],
)
def test_an_odd_manifest_has_a_part_all_the_same(text: str) -> None:
    assert len(parts(text)) == 1


def test_there_are_not_more_parts_than_anybody_reads() -> None:
    held = "".join(f"  k{i}: 'plugins: []'\n" for i in range(2 * MAX_PARTS))
    assert len(parts(f"kind: ConfigMap\ndata:\n{held}")) == MAX_PARTS


@given(st.text("ConfigMap plugns:dta|>'\"\n -{}[]&*#", max_size=60))
def test_any_text_has_parts(text: str) -> None:
    assert parts(f"kind: ConfigMap\n{text}")
