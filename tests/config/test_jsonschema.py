from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from epp.config.jsonschema import DIALECT, json_schema
from epp.config.schema import ConfigSection, PluginSection
from epp.core.plugin import REGISTRY, Params, Plugin
from tests.config.loading import own_type

SCHEMA = json_schema(REGISTRY)


def refs(value: Any) -> Iterator[str]:
    """Every reference in a schema."""
    if isinstance(value, dict):
        yield from (v for k, v in value.items() if k == "$ref")
        for child in value.values():
            yield from refs(child)
    elif isinstance(value, list):
        for child in value:
            yield from refs(child)


def at(ref: str) -> dict[str, Any]:
    found: Any = SCHEMA
    for step in ref.removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found


def parameters_of(type_name: str) -> dict[str, Any]:
    """The schema of a type's parameters."""
    (then,) = (
        rule["then"]
        for rule in SCHEMA["$defs"]["PluginSection"]["allOf"]
        if type_name in rule["if"]["properties"]["type"]["enum"]
    )
    return at(then["properties"]["parameters"]["$ref"])


def test_it_is_a_schema_whose_references_lead_somewhere() -> None:
    assert SCHEMA["$schema"] == DIALECT
    assert json.loads(msgspec.json.encode(SCHEMA)).keys() == SCHEMA.keys()
    assert all(at(ref) for ref in refs(SCHEMA))


def test_the_whole_file_has_its_keys_and_no_others() -> None:
    root = at(SCHEMA["$ref"])
    assert list(root["properties"]) == list(ConfigSection.__struct_encode_fields__)
    assert root["properties"]["kind"] == {"const": "EndpointPickerConfig"}
    assert "llm-d.ai/v1alpha1" in root["properties"]["apiVersion"]["enum"]


@pytest.mark.parametrize("name", sorted(SCHEMA["$defs"]))
def test_no_mapping_takes_unknown_keys(name: str) -> None:
    assert SCHEMA["$defs"][name]["additionalProperties"] is False


def test_every_type_and_every_older_name_is_offered_with_a_sentence() -> None:
    plugin = SCHEMA["$defs"]["PluginSection"]
    offered = {kind["const"]: kind["description"] for kind in plugin["properties"]["type"]["anyOf"]}
    names = {*REGISTRY, *(alias for declared in REGISTRY.values() for alias in declared.aliases)}
    assert offered.keys() == names
    assert all(offered.values())
    assert list(plugin["properties"]) == list(PluginSection.__struct_encode_fields__)
    assert plugin["required"] == ["type"]


@pytest.mark.parametrize(
    "name", sorted(name for name, d in REGISTRY.items() if d.params.__struct_fields__)
)
def test_a_type_has_its_parameters(name: str) -> None:
    for spelling in (name, *REGISTRY[name].aliases):
        properties = parameters_of(spelling)["properties"]
        assert list(properties) == list(REGISTRY[name].params.__struct_encode_fields__)


def test_a_parameter_has_its_bounds_its_default_and_its_help() -> None:
    discovery = parameters_of("file-discovery")
    assert discovery["required"] == ["path"]
    assert discovery["properties"]["path"]["minLength"] == 1
    detector = parameters_of("utilization-detector")["properties"]
    assert detector["queueDepthThreshold"] == {
        "type": "integer",
        "exclusiveMinimum": 0,
        "default": 5,
        "description": "Waiting requests.",
    }


def test_lists_have_no_empty_entries() -> None:
    properties = at(SCHEMA["$ref"])["properties"]
    for key, component in (
        ("plugins", "PluginSection"),
        ("schedulingProfiles", "ProfileSection"),
    ):
        assert properties[key]["anyOf"][0]["items"] == {"$ref": f"#/$defs/{component}"}


class Undocumented(Plugin):
    pass


class OwnParams(Params, frozen=True):
    odd: complex


def test_types_of_ones_own_are_offered_even_without_a_word_on_them() -> None:
    own = own_type("mine", Undocumented, OwnParams)
    types = json_schema({**REGISTRY, **own})["$defs"]["PluginSection"]["properties"]["type"]
    assert {"const": "mine", "description": ""} in types["anyOf"]


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("PluginSection", ["type"]),
        ("ProfileSection", ["name"]),
        ("PluginRefSection", ["pluginRef"]),
        ("ReferenceSection", ["pluginRef"]),
    ],
)
def test_what_the_loader_asks_for_is_required(section: str, keys: list[str]) -> None:
    assert SCHEMA["$defs"][section]["required"] == keys
