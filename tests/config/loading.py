"""Short ways to load a configuration, and plugin types that stand in no catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

import epp.plugins
from epp.config.document import Loader
from epp.config.findings import ConfigError, Severity
from epp.config.load import LoadedConfig, load_config
from epp.core.plugin import (
    REGISTRY,
    Handle,
    NoParams,
    Params,
    Plugin,
    PluginType,
    Stability,
)
from tests.config.told import errors, told
from tests.fakes import make_handle

epp.plugins.load()

OLD = "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n"
NEW = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"


class _Dumper(yaml.SafeDumper):
    """Puts in quotes what the reader would take for no text."""

    yaml_implicit_resolvers = Loader.yaml_implicit_resolvers


def dump(value: object, **options: Any) -> str:
    """``value`` as YAML that Go's reader takes for the same."""
    text: str = yaml.dump(value, Dumper=_Dumper, **options)
    return text


def load(
    text: str,
    own: Mapping[str, PluginType] | None = None,
    before: LoadedConfig | None = None,
    *,
    allow_experimental: bool = False,
) -> LoadedConfig:
    """The configuration ``text`` as the file ``f``; ``own`` are types beside the built-in ones."""
    return load_config(
        text,
        "f",
        make_handle(),
        catalogue={**REGISTRY, **(own or {})},
        allow_experimental=allow_experimental,
        before=before,
    )


def refusals(text: str, own: Mapping[str, PluginType] | None = None) -> list[str]:
    """The errors for which ``text`` is refused, in their short form."""
    with pytest.raises(ConfigError) as raised:
        load(text, own)
    return errors(raised.value.findings)


def warnings(text: str) -> list[str]:
    """What is said about a configuration that loads, but for notes."""
    return told(load(text).findings, Severity.WARNING)


def own_type(
    name: str,
    cls: type[Plugin],
    params: type[Params] = NoParams,
    make: Callable[[Any, Handle], Plugin] | None = None,
    origin: str = "own.py",
) -> dict[str, PluginType]:
    """A catalogue of one type, by default of the user's own."""
    return {
        name: PluginType(
            name=name,
            params=params,
            stability=Stability.STABLE,
            make=make or (lambda _params, _handle: cls()),
            cls=cls,
            origin=origin,
        )
    }
