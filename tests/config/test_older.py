from __future__ import annotations

import pytest

from epp.plugins.producers.byte_prefix_cache import BytePrefixCacheParams
from epp.plugins.scorers.prefix_cache import PrefixCacheParams
from tests.config.told import NEW, OLD, load, refusals

BYTES = "{blockSize: 5, maxPrefixBlocksToMatch: 256, lruCapacityPerServer: 7}"


def scorer(parameters: str = "{}", name: str = "") -> str:
    named = f"name: {name}, " if name else ""
    return f"{{type: prefix-cache-scorer, {named}parameters: {parameters}}}"


APPROX = "approx-prefix-cache-producer"
INDEX = "prefix-cache-scorer-index"


@pytest.mark.parametrize(
    ("text", "producers"),
    [
        (f"{OLD}plugins: [{scorer()}]", [INDEX]),
        (f"plugins: [{scorer()}]", [INDEX]),
        (f"plugins: [{scorer(name='p')}, {scorer(name='q')}]", ["p-index", "q-index"]),
        (f"{NEW}plugins: [{scorer()}]", [APPROX, "token-producer"]),
        (f"{NEW}plugins: [{scorer(BYTES)}]", [INDEX]),
        (f"{NEW}plugins: [{scorer('{BLOCKSIZE: 5}')}]", [INDEX]),
        (f"plugins: [{scorer()}, {{type: {APPROX}}}]", [APPROX, "token-producer"]),
        (f"plugins: [{scorer('{matchLengthWeight: 0.5}')}]", [APPROX, "token-producer"]),
        (
            f"plugins: [{{type: queue-scorer, name: {INDEX}}}, {scorer()}]",
            [f"{INDEX}-default"],
        ),
        (f"plugins: [{scorer()}, {{type: queue-scorer, name: {INDEX}}}]", [f"{INDEX}-default"]),
    ],
)
def test_a_scorer_of_the_older_kind_gets_an_index_of_its_own(
    text: str, producers: list[str]
) -> None:
    config = load(text)
    assert sorted(producer.name for producer in config.producers) == sorted(producers)
    scorers = [e for e in config.entries.values() if isinstance(e.params, PrefixCacheParams)]
    assert all(scorer.origin == "" for scorer in scorers)


def test_the_parameters_in_bytes_go_to_the_index_and_the_others_stay() -> None:
    entries = load(f"{NEW}plugins: [{scorer('{blocksize: 5, matchLengthWeight: 0.5}')}]").entries
    assert entries[INDEX].params == BytePrefixCacheParams(
        block_size=5, report_as="prefix-cache-scorer"
    )
    assert entries["prefix-cache-scorer"].params == PrefixCacheParams(
        prefix_match_info_producer_name=INDEX, match_length_weight=0.5
    )
    assert entries[INDEX].origin.startswith("the index of prefix-cache-scorer, in bytes")


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ("{blockSize: x}", "plugins[0].parameters.blockSize: Expected `int`, got `str`"),
        ("[1]", "plugins[0].parameters: expected a mapping of parameters"),
        ("{matchLengthWeight: 2, blockSize: 1}", "matchLengthWeight: Expected `float` <= 1.0"),
    ],
)
def test_what_is_wrong_is_told_once_and_where_it_stands(parameters: str, refusal: str) -> None:
    (found,) = refusals(f"plugins: [{scorer(parameters)}]")
    assert refusal in found
