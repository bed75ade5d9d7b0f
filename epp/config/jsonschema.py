"""The JSON Schema of a configuration, for editors; made from the types that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from epp.config.schema import KIND, NEW_GROUP, OLD_GROUP, ConfigSection
from epp.core.plugin import Params, PluginName, PluginType, PositiveDuration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(catalogue: Mapping[str, PluginType]) -> dict[str, Any]:
    """A schema in which each plugin type has the parameters that it takes.

    It is stricter than the picker under the older group, which ignores unknown parameters.
    """
    types = sorted(catalogue.values(), key=lambda declared: declared.name)
    (config, *params), components = msgspec.json.schema_components(
        [ConfigSection, *[declared.params for declared in types]],
        schema_hook=_leaf,
        ref_template="#/$defs/{name}",
    )
    sections = components[config["$ref"].rpartition("/")[2]]["properties"]
    sections["apiVersion"] = {"enum": [NEW_GROUP, OLD_GROUP]}
    sections["kind"] = {"const": KIND}
    for key in ("plugins", "schedulingProfiles"):
        items = sections[key]["anyOf"][0]
        items["items"] = items["items"]["anyOf"][0]  # null is no entry that could be written
    for component in components.values():
        component.setdefault("additionalProperties", False)
    plugin = components["PluginSection"]
    for section, key in (
        ("PluginSection", "type"),
        ("ProfileSection", "name"),
        ("PluginRefSection", "pluginRef"),
    ):
        components[section]["required"] = [key]  # their types allow none: the loader tells more
    plugin["properties"]["type"] = {
        "anyOf": [
            {"const": name, "description": _summary(declared)}
            for declared in types
            for name in (declared.name, *declared.aliases)
        ]
    }
    plugin["allOf"] = [
        {
            "if": {"properties": {"type": {"enum": [declared.name, *declared.aliases]}}},
            "then": {"properties": {"parameters": schema}},
        }
        for declared, schema in zip(types, params, strict=True)
        if _has_parameters(declared.params)
    ]
    return {
        "$schema": DIALECT,
        "title": KIND,
        **config,
        "$defs": components,
    }


def _leaf(to: type) -> dict[str, Any]:
    if to is PositiveDuration:
        return {"type": "string", "description": "A duration above 0 such as 200ms."}
    if to is PluginName:
        return {"type": "string", "description": "The name of another plugin."}
    return {"title": to.__name__}  # a type of the user's own, of which nothing is known


def _has_parameters(params: type[Params]) -> bool:
    return bool(params.__struct_fields__)


def _summary(declared: PluginType) -> str:
    return (declared.cls.__doc__ or "").strip().partition("\n")[0]
