from __future__ import annotations

import pytest

from epp.core.parser import Parser
from tests.config.told import NEW, OLD, checked, load, refusals, rules


def parsers(text: str) -> list[str]:
    return [parser.name for parser in load(text).parsers]


DEFAULTS = ["openai-parser", "anthropic-parser", "vllmhttp-parser", "passthrough-parser"]
MINE = "plugins: [{type: openai-parser, name: mine}]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NEW, DEFAULTS),
        (NEW + "requestHandler: {}", DEFAULTS),
        (NEW + "requestHandler: {parsers: []}", DEFAULTS),
        (NEW + MINE, DEFAULTS),
        (
            NEW + "plugins: [{type: queue-scorer, name: openai-parser}]",
            ["openai-parser-default", *DEFAULTS[1:]],
        ),
        (NEW + "requestHandler: {parsers: [{pluginRef: vllmgrpc-parser}]}", ["vllmgrpc-parser"]),
        (NEW + MINE + "requestHandler: {parsers: [{pluginRef: mine}]}", ["mine"]),
        (
            NEW + "requestHandler: {parsers: [{pluginRef: passthrough-parser}, "
            "{pluginRef: openai-parser}]}",
            ["passthrough-parser", "openai-parser"],
        ),
        (NEW + "parser: {pluginRef: openai-parser}", ["openai-parser"]),
        (
            NEW + "parser: {pluginRef: openai-parser}\n"
            "requestHandler: {parsers: [{pluginRef: passthrough-parser}]}",
            ["passthrough-parser"],
        ),
        (OLD + "requestHandler: {parsers: [{pluginRef: openai-parser}]}", ["openai-parser"]),
    ],
)
def test_parsers_are_those_named_in_their_order(text: str, expected: list[str]) -> None:
    assert parsers(text) == expected


def test_a_file_of_the_older_group_without_parsers_reads_bodies_alone() -> None:
    (parser,) = load(OLD).parsers
    assert isinstance(parser, Parser)
    assert parser not in load(OLD).plugins


@pytest.mark.parametrize("beside", ["", "requestHandler: {parsers: [{pluginRef: openai-parser}]}"])
def test_the_older_spelling_is_deprecated(beside: str) -> None:
    text = f"{NEW}plugins: []\nparser: {{pluginRef: openai-parser}}\n{beside}"
    assert rules(text) == ["deprecated-key"]


LAYER = (
    "plugins: [{type: metrics-data-source}, {type: core-metrics-extractor}, "
    "{type: decode-filter}]\n"
)


@pytest.mark.parametrize(
    ("section", "refusal"),
    [
        (
            "requestHandler: {parsers: [{pluginRef: decode-filte}]}",
            "undefined Plugin; did you mean",
        ),
        ("requestHandler: {parsers: [{pluginRef: queue-scorer}]}", "is not a parser plugin"),
        ("requestHandler: {parsers: [{pluginRef: latency-scorer}]}", "cannot be used: it needs"),
        ("requestHandler: {parsers: [{}]}", "`pluginRef` is required"),
        (
            "dataLayer: {discovery: {pluginRef: decode-filter}}",
            "(decode-filter) is not a discovery",
        ),
        ("dataLayer: {peerDiscovery: {pluginRef: x}}", "x is a reference to an undefined Plugin"),
        (
            "dataLayer: {crossReplicaSyncerPluginRef: x}",
            "is no cross-replica syncer: there",
        ),
        ("dataLayer: {sources: [{pluginRef: decode-filter}]}", "is not a data source"),
        (
            "dataLayer: {sources: [{pluginRef: metrics-data-source, "
            "extractors: [{pluginRef: decode-filter}]}]}",
            "extractors[0].pluginRef: decode-filter (decode-filter) is not an extractor",
        ),
        (
            "dataLayer: {sources: [{pluginRef: metrics-data-source, extractors: "
            "[{pluginRef: core-metrics-extractor}, {pluginRef: core-metrics-extractor}]}]}",
            "extractors[1].pluginRef: a second core-metrics-extractor on one source",
        ),
        ("dataLayer: {injectDefaults: false}", "data layer enabled but no data sources"),
    ],
)
def test_a_wrong_reference_is_refused_once(section: str, refusal: str) -> None:
    (found,) = refusals(LAYER + section)
    assert refusal in found


def test_sources_have_their_extractors() -> None:
    text = (
        NEW + LAYER.replace(", {type: decode-filter}", "") + "dataLayer: {injectDefaults: false, "
        "sources: [{pluginRef: metrics-data-source, "
        "extractors: [{pluginRef: core-metrics-extractor}]}]}"
    )
    (use,) = load(text).data_layer.sources
    assert (use.source.name, [e.name for e in use.extractors]) == (
        "metrics-data-source",
        ["core-metrics-extractor"],
    )


def test_another_discovery_of_peers_has_no_effect() -> None:
    text = (
        NEW + "plugins: [{type: file-discovery, parameters: {path: /e.yaml}}]\n"
        "dataLayer: {peerDiscovery: {pluginRef: file-discovery}}"
    )
    assert "dataLayer.peerDiscovery" in [f.place for f in checked(text)]
    assert load(text).discovery is None
