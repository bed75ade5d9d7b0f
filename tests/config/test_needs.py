from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from epp.config.findings import ConfigError
from epp.config.load import load_config
from epp.core.data import DataKey
from epp.core.plugin import (
    REGISTRY,
    DataProducer,
    Handle,
    Params,
    PluginType,
    Stability,
)
from tests.config.told import NEW, errors, load, refusals
from tests.fakes import make_handle


@pytest.mark.parametrize(
    ("plugins", "added"),
    [
        ("{type: queue-scorer}", []),
        ("{type: prefix-cache-scorer}", ["approx-prefix-cache-producer", "token-producer"]),
        ("{type: active-request-scorer}", ["inflight-load-producer", "token-producer"]),
        (
            "{type: prefix-cache-scorer}, {type: approx-prefix-cache-producer}",
            ["token-producer"],
        ),
        (
            "{type: token-producer, name: mine}, {type: prefix-cache-scorer}",
            ["approx-prefix-cache-producer", "token-producer"],
        ),
        (
            "{type: byte-prefix-cache-producer, name: mine}, "
            "{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: mine}}",
            [],
        ),
    ],
)
def test_what_is_needed_and_nobody_makes_is_added(plugins: str, added: list[str]) -> None:
    entries = load(f"{NEW}plugins: [{plugins}]").entries
    producers = [name for name, e in entries.items() if e.origin and name.endswith("-producer")]
    assert sorted(producers) == sorted(added)
    assert all(" needs " in entries[name].origin for name in added)


CUSTOM = "{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: mine}}"


@pytest.mark.parametrize(
    ("plugins", "refusal"),
    [
        (CUSTOM, "needs prefix-match from mine, which is not declared"),
        (
            "{type: queue-scorer, name: mine}, " + CUSTOM,
            "needs prefix-match from mine, which makes none",
        ),
        (
            "{type: queue-scorer, name: approx-prefix-cache-producer}, {type: prefix-cache-scorer}",
            "prefix-cache-scorer needs prefix-match, which nobody makes",
        ),
        (
            "{type: precise-prefix-cache-producer, name: mine}, " + CUSTOM,
            "plugin type 'precise-prefix-cache-producer' cannot be used",
        ),
        (
            "{type: byte-prefix-cache-producer, name: mine, parameters: {blockSize: x}}, " + CUSTOM,
            "blockSize: Expected `int`, got `str`",
        ),
    ],
)
def test_what_is_missing_for_good_is_told_once(plugins: str, refusal: str) -> None:
    (found,) = refusals(f"{NEW}plugins: [{plugins}]")
    assert refusal in found


def test_producers_come_after_those_whose_data_they_read() -> None:
    text = f"{NEW}plugins: [{{type: prefix-cache-scorer}}, {{type: approx-prefix-cache-producer}}]"
    names = [producer.name for producer in load(text).producers]
    assert names == ["token-producer", "approx-prefix-cache-producer"]


KEY: DataKey[int] = DataKey("some-data")


class LinkParams(Params, frozen=True):
    after: str = ""


class Link(DataProducer):
    """Makes data out of what another one makes, if ``after`` says whose."""

    def __init__(self, params: LinkParams, handle: Handle) -> None:
        self._consumes = (KEY.of(params.after),) if params.after else ()
        self._produces = (KEY.of(handle.name),)

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return self._consumes

    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return self._produces


LINK = PluginType("link", LinkParams, Stability.BETA, Link, Link)


def links(text: str) -> list[str]:
    """The names of producers in their order, of ``b<a`` for b that reads what a makes."""
    pairs = [link.partition("<")[::2] for link in text.split()]
    plugins = "".join(
        f"- {{type: link, name: {name}, parameters: {{after: '{other}'}}}}\n"
        for name, other in pairs
    )
    config = load_config(
        f"{NEW}plugins:\n{plugins}", "c.yaml", make_handle(), catalogue={**REGISTRY, "link": LINK}
    )
    return [producer.name for producer in config.producers]


@pytest.mark.parametrize(
    ("text", "order"),
    [("a b", "a b"), ("b<a a", "a b"), ("c<b b<a a d", "a b c d"), ("a<a", "a")],
)
def test_any_order_of_declaration_will_do(text: str, order: str) -> None:
    assert links(text) == order.split()


@pytest.mark.parametrize(
    ("text", "circle"), [("a<b b<a", "a -> b -> a"), ("x<a a<b b<c c<a", "a -> b -> c -> a")]
)
def test_a_circle_is_refused_and_shown(text: str, circle: str) -> None:
    with pytest.raises(ConfigError) as raised:
        links(text)
    assert errors(raised.value.findings) == [
        f"c.yaml:3: plugins: data producers need each other: {circle}"
    ]


def test_a_chain_that_is_very_long_is_put_in_order_too() -> None:
    text = " ".join([f"n{i}<n{i + 1}" for i in range(3000)] + ["n3000"])
    assert links(text)[0] == "n3000"
