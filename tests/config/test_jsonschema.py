from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from epp.config.jsonschema import DIALECT, json_schema
from epp.config.schema import ConfigSection
from epp.core.plugin import REGISTRY
from tests.config import told

assert told  # loads the catalogue


@pytest.fixture(scope="module", name="schema")
def make_schema() -> dict[str, Any]:
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(json_schema(REGISTRY)))
    return made


def nodes(value: object) -> Iterator[dict[str, Any]]:
    """Every mapping below."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def test_the_keys_are_those_of_the_configuration(schema: dict[str, Any]) -> None:
    config = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    assert schema["$schema"] == DIALECT
    assert config["properties"].keys() == set(ConfigSection.__struct_encode_fields__)


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    references = {node["$ref"] for node in nodes(schema) if isinstance(node.get("$ref"), str)}
    assert references
    assert {f"#/$defs/{name}" for name in schema["$defs"]} >= references


def test_unknown_keys_are_refused_everywhere(schema: dict[str, Any]) -> None:
    loose = [
        name
        for name, definition in schema["$defs"].items()
        if definition.get("type") == "object"
        and definition.get("additionalProperties") is not False
    ]
    assert loose == []


def test_every_type_and_alias_is_there_with_a_line_about_it(schema: dict[str, Any]) -> None:
    choices = schema["$defs"]["PluginSection"]["properties"]["type"]["anyOf"]
    names = {name for t in REGISTRY.values() for name in (t.name, *t.aliases)}
    assert {choice["const"] for choice in choices} == names
    assert all(choice["description"] for choice in choices)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_type_has_the_parameters_it_takes(schema: dict[str, Any], name: str) -> None:
    branches = [
        branch["then"]["properties"]["parameters"]
        for branch in schema["$defs"]["PluginSection"].get("allOf", ())
        if name in branch["if"]["properties"]["type"]["enum"]
    ]
    fields = set(REGISTRY[name].params.__struct_encode_fields__)
    if not fields:
        assert branches == []
        return
    (branch,) = branches
    definition = schema["$defs"][branch["$ref"].rpartition("/")[2]]
    assert set(definition["properties"]) == fields
    required = {f.encode_name for f in msgspec.structs.fields(REGISTRY[name].params) if f.required}
    assert set(definition.get("required", ())) == required


def test_two_types_whose_parameters_are_called_alike_do_not_share_them() -> None:
    names: dict[str, type] = {}
    for declared in REGISTRY.values():
        assert names.setdefault(declared.params.__name__, declared.params) is declared.params


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("PluginSection", ["type"]),
        ("ProfileSection", ["name"]),
        ("PluginRefSection", ["pluginRef"]),
        ("ReferenceSection", ["pluginRef"]),
        ("SaturationSection", []),
    ],
)
def test_what_has_to_be_there(schema: dict[str, Any], section: str, keys: list[str]) -> None:
    assert schema["$defs"][section].get("required", []) == keys
