from __future__ import annotations

from collections.abc import Iterator

import pytest

from epp.core.plugin import (
    REGISTRY,
    Handle,
    NoParams,
    Params,
    Plugin,
    Stability,
    plugin,
)
from tests.fakes import make_handle


class SizeParams(Params, frozen=True):
    how_large: int = 3


@pytest.fixture(autouse=True)
def catalogue_as_before() -> Iterator[None]:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def test_a_plugin_without_parameters_is_made_without_arguments() -> None:
    @plugin("plain", params=NoParams, stability=Stability.ALPHA)
    class Plain(Plugin):
        pass

    declared = REGISTRY["plain"]
    made = declared.make(NoParams(), make_handle())
    assert isinstance(made, Plain)
    assert (made.type, declared.stability) == ("plain", "Alpha")


def test_a_plugin_with_parameters_gets_them_and_the_handle() -> None:
    @plugin("sized", params=SizeParams, stability=Stability.BETA)
    class Sized(Plugin):
        def __init__(self, params: SizeParams, handle: Handle) -> None:
            self.given = params, handle

    handle = make_handle()
    made = REGISTRY["sized"].make(SizeParams(how_large=5), handle)
    assert isinstance(made, Sized)
    assert made.given == (SizeParams(how_large=5), handle)


def test_a_type_name_declared_twice_is_an_error() -> None:
    class Twice(Plugin):
        pass

    plugin("twice", params=NoParams, stability=Stability.BETA)(Twice)
    with pytest.raises(ValueError, match="plugin type 'twice' is declared twice"):
        plugin("twice", params=NoParams, stability=Stability.BETA)(Twice)


def test_a_plugin_is_called_by_its_type_until_it_has_a_name() -> None:
    @plugin("named", params=NoParams, stability=Stability.BETA)
    class Named(Plugin):
        pass

    one, other = Named(), Named()
    one.bind("mine")
    assert (one.name, other.name) == ("mine", "named")
    assert (repr(one), repr(other)) == ("mine/named", "named/named")


def test_parameters_are_spelt_in_camel_case() -> None:
    assert SizeParams.__struct_encode_fields__ == ("howLarge",)
