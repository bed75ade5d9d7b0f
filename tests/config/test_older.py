from __future__ import annotations

import pytest

from epp.config.older import BYTE_PRODUCER, PREFIX_SCORER, declarations
from epp.config.schema import PluginSection
from tests.config.loading import NEW, OLD, load, refusals, warnings


def declared(*sections: PluginSection, is_old: bool = True) -> list[tuple[str, str, object]]:
    """Type, name and parameters of what is to be made."""
    placed = [(f"$.plugins[{i}]", section) for i, section in enumerate(sections)]
    return [(d.type, d.name, d.parameters) for d in declarations(placed, is_old=is_old)]


def scorer(name: str | None = None, parameters: object = None) -> PluginSection:
    return PluginSection(PREFIX_SCORER, name, parameters)


BYTES = {"blockSize": 5, "maxPrefixBlocksToMatch": 6, "lruCapacityPerServer": 7}
INDEX = {"prefixMatchInfoProducerName": "prefix-cache-scorer-index"}
REPORT = {"reportAs": "prefix-cache-scorer"}
APPROX = PluginSection("approx-prefix-cache-producer")


@pytest.mark.parametrize(
    ("parameters", "of_producer", "of_scorer"),
    [
        (None, REPORT, INDEX),
        ({}, REPORT, INDEX),
        (BYTES, BYTES | REPORT, INDEX),
        ({"BLOCKSIZE": 5}, {"blockSize": 5} | REPORT, INDEX),
        ({"blockSize": 5, "nope": 1}, {"blockSize": 5} | REPORT, {"nope": 1} | INDEX),
        ([1], REPORT, [1]),
    ],
)
def test_a_scorer_of_the_older_group_has_an_index_in_bytes(
    parameters: object, of_producer: object, of_scorer: object
) -> None:
    assert declared(scorer(None, parameters)) == [
        (BYTE_PRODUCER, "prefix-cache-scorer-index", of_producer),
        (PREFIX_SCORER, "prefix-cache-scorer", of_scorer),
    ]


@pytest.mark.parametrize(
    ("sections", "is_old"),
    [
        ([scorer()], False),
        ([scorer(None, {"matchLengthWeight": 0.5})], False),
        ([scorer(None, {"prefixMatchInfoProducerName": "x"})], True),
        ([scorer(None, {"PREFIXMATCHINFOPRODUCERNAME": "x"})], True),
        ([scorer(None, {"matchLengthWeight": 0.5})], True),
        ([scorer(), APPROX], True),
        ([PluginSection("burst-prefix-cache-producer"), scorer()], True),
        ([PluginSection("queue-scorer", None, {"blockSize": 1})], True),
    ],
)
def test_other_plugins_are_what_they_say(sections: list[PluginSection], *, is_old: bool) -> None:
    assert declared(*sections, is_old=is_old) == [
        (section.type, section.name or section.type, section.parameters) for section in sections
    ]


def test_parameters_in_bytes_give_an_index_in_the_newer_group_and_beside_a_producer() -> None:
    for is_old in (False, True):
        types = [kind for kind, _, _ in declared(APPROX, scorer(None, BYTES), is_old=is_old)]
        assert types == [APPROX.type, BYTE_PRODUCER, PREFIX_SCORER]


def test_an_index_takes_no_name_that_somebody_has() -> None:
    names = [
        name
        for _, name, _ in declared(
            scorer("a"),
            PluginSection("queue-scorer", "a-index"),
            PluginSection("queue-scorer", "a-index-default"),
            scorer("a-index-default-default"),
        )
    ]
    assert names[0] == "a-index-default-default-default"
    assert len(set(names)) == len(names)


def test_two_scorers_have_two_indices() -> None:
    loaded = load(
        OLD + "plugins: [{type: prefix-cache-scorer}, {type: prefix-cache-scorer, name: other, "
        "parameters: {blockSize: 8}}]"
    )
    assert list(loaded.entries)[:4] == [
        *("prefix-cache-scorer-index", "prefix-cache-scorer"),
        *("other-index", "other"),
    ]
    assert [producer.name for producer in loaded.producers] == [
        "prefix-cache-scorer-index",
        "other-index",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{blockSize: x}", "f:3: plugins[0].parameters.blockSize: Expected `int`, got `str`"),
        ("[1]", "f:3: plugins[0].parameters: expected a mapping of parameters"),
    ],
)
@pytest.mark.parametrize("group", [OLD, NEW])
def test_wrong_parameters_are_told_once_where_they_stand(
    group: str, text: str, problem: str
) -> None:
    assert refusals(group + f"plugins: [{{type: prefix-cache-scorer, parameters: {text}}}]") == [
        problem
    ]


def test_an_unknown_parameter_is_told_once() -> None:
    text = OLD + "plugins: [{type: prefix-cache-scorer, parameters: {nope: 1}}]"
    (found,) = warnings(text)
    assert found.startswith("f:3: plugins[0].parameters.nope: prefix-cache-scorer ignores this")
