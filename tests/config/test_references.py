from __future__ import annotations

import pytest

from epp.config.findings import Severity
from epp.config.references import NEWER_PARSERS
from tests.config.loading import NEW, OLD, load, refusals, warnings
from tests.config.told import told

FILE = "{type: file-discovery, parameters: {path: /e}}"
SOURCES = (
    "plugins: [{type: metrics-data-source}, {type: core-metrics-extractor}, {type: queue-scorer}, "
    f"{FILE}]\n"
)


def sources(text: str) -> str:
    return f"{SOURCES}dataLayer: {{sources: [{text}]}}\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (OLD, ["body-alone"]),
        (OLD + "requestHandler: {parsers: []}", ["body-alone"]),
        ("", ["body-alone"]),
        (NEW, list(NEWER_PARSERS)),
        (NEW + "requestHandler: {}", list(NEWER_PARSERS)),
        (NEW + "plugins: [{type: passthrough-parser}]", list(NEWER_PARSERS)),
        (
            NEW + "plugins: [{type: queue-scorer, name: openai-parser}]",
            ["openai-parser-default", *NEWER_PARSERS[1:]],
        ),
        (
            OLD + "requestHandler: {parsers: [{pluginRef: openai-parser}]}",
            ["openai-parser"],
        ),
        (
            NEW + "plugins: [{type: openai-parser, name: p}]\n"
            "requestHandler: {parsers: [{pluginRef: passthrough-parser}, {pluginRef: p}]}",
            ["passthrough-parser", "p"],
        ),
        (NEW + "parser: {pluginRef: openai-parser}", ["openai-parser"]),
        (
            NEW
            + "parser: {pluginRef: zz}\nrequestHandler: {parsers: [{pluginRef: openai-parser}]}",
            ["openai-parser"],
        ),
    ],
)
def test_parsers_are_those_that_are_named_else_those_of_the_group(
    text: str, names: list[str]
) -> None:
    found = [parser.name for parser in load(text).parsers]
    assert found == names or (names == ["body-alone"] and len(found) == 1)
    if names == ["body-alone"]:
        assert load(text).parsers[0] not in load(text).plugins


def test_the_older_key_of_the_parser_is_deprecated() -> None:
    text = NEW + "parser: {pluginRef: openai-parser}\n"
    assert warnings(text) == ["f:3: parser.pluginRef: is deprecated, use requestHandler.parsers"]
    assert warnings(text + "requestHandler: {parsers: [{pluginRef: openai-parser}]}") == [
        "f:3: parser.pluginRef: has no effect beside requestHandler.parsers"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "requestHandler: {parsers: [{pluginRef: openai-parsr}]}",
            "requestHandler.parsers[0].pluginRef: openai-parsr is a reference to an undefined",
        ),
        (
            "requestHandler: {parsers: [{pluginRef: queue-scorer}]}",
            "requestHandler.parsers[0].pluginRef: queue-scorer (queue-scorer) is not a parser",
        ),
        ("requestHandler: {parsers: [{}]}", "requestHandler.parsers[0]: `pluginRef` is required"),
        ("parser: {pluginRef: zz}", "parser.pluginRef: zz is a reference to an undefined Plugin"),
        (
            "dataLayer: {discovery: {pluginRef: zz}}",
            "dataLayer.discovery.pluginRef: zz is a reference to an undefined Plugin",
        ),
        (
            "dataLayer: {peerDiscovery: {pluginRef: zz}}",
            "dataLayer.peerDiscovery.pluginRef: zz is a reference to an undefined Plugin",
        ),
        (
            "dataLayer: {crossReplicaSyncerPluginRef: zz}",
            "dataLayer.crossReplicaSyncerPluginRef: the plugin zz is no cross-replica syncer",
        ),
        (
            "dataLayer: {injectDefaults: false}",
            "dataLayer.sources: data layer enabled but no data sources configured",
        ),
    ],
)
def test_a_wrong_reference_is_refused_where_it_stands(text: str, problem: str) -> None:
    (found,) = refusals(NEW + text)
    assert found.startswith(f"f:3: {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{pluginRef: zz}", "sources[0].pluginRef: zz is a reference to an undefined Plugin"),
        ("{pluginRef: queue-scorer}", "sources[0].pluginRef: queue-scorer (queue-scorer) is not a"),
        (
            "{pluginRef: metrics-data-source, extractors: [{pluginRef: queue-scorer}]}",
            "sources[0].extractors[0].pluginRef: queue-scorer (queue-scorer) is not an extractor",
        ),
        (
            "{pluginRef: zz, extractors: [{pluginRef: core-metrics-extractor}]}",
            "sources[0].pluginRef: zz is a reference to an undefined Plugin",
        ),
        (
            "{pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}, "
            "{pluginRef: core-metrics-extractor}]}",
            "sources[0].extractors[1].pluginRef: a second core-metrics-extractor on one source",
        ),
    ],
)
def test_a_wrong_source_is_refused_where_it_stands(text: str, problem: str) -> None:
    (found,) = refusals(sources(text))
    assert found.startswith(f"f:2: dataLayer.{problem}")


def test_sources_have_their_extractors() -> None:
    text = "{pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}"
    layer = load(sources(text)).data_layer
    (use,) = layer.sources
    assert (use.source.name, [e.name for e in use.extractors]) == (
        "metrics-data-source",
        ["core-metrics-extractor"],
    )
    assert layer.has_defaults
    assert not load(
        sources("{pluginRef: metrics-data-source}").replace(
            "{sources", "{injectDefaults: no, sources"
        )
    ).data_layer.has_defaults


def test_discovery_is_what_is_named_and_peers_are_not_looked_for() -> None:
    text = f"plugins: [{FILE}]\ndataLayer: {{discovery: &d {{pluginRef: file-discovery}}}}"
    discovery = load(text).discovery
    assert discovery is not None
    assert discovery.name == "file-discovery"
    peers = load(text.replace("discovery:", "peerDiscovery:"))
    assert peers.discovery is None
    assert told(peers.findings, Severity.NOTE) == [
        "f:2: dataLayer.peerDiscovery: has no effect in this version"
    ]


def test_a_parser_that_cannot_be_made_is_told_once() -> None:
    (found,) = refusals(f"{NEW}requestHandler: {{parsers: [{{pluginRef: latency-scorer}}]}}")
    assert "cannot be used" in found
