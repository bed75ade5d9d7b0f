"""Sections that name plugins for other work than scheduling: discovery, parsers, data sources."""

from __future__ import annotations

from collections.abc import Sequence

from epp.config.findings import Findings
from epp.config.schema import NEW_GROUP, ConfigSection, ReferenceSection
from epp.config.shelf import Shelf
from epp.core.datalayer import DataLayer, DataSource, Extractor, SourceUse
from epp.core.parser import Parser
from epp.core.plugin import Discovery
from epp.formats.bodyalone import BodyAloneParser

NEWER_PARSERS = ("openai-parser", "anthropic-parser", "vllmhttp-parser", "passthrough-parser")


def find_discovery(config: ConfigSection, shelf: Shelf, findings: Findings) -> Discovery | None:
    """The plugin that knows the endpoints, None for Kubernetes."""
    layer = config.data_layer
    if layer is None:
        return None
    path = "$.dataLayer"
    if layer.peer_discovery is not None:
        shelf.find(
            layer.peer_discovery.plugin_ref,
            Discovery,
            f"{path}.peerDiscovery.pluginRef",
            what="a discovery",
        )
        findings.note(f"{path}.peerDiscovery", "without-effect", "has no effect in this version")
    if layer.cross_replica_syncer_plugin_ref:
        findings.error(
            f"{path}.crossReplicaSyncerPluginRef",
            "waiting-type",
            f"the plugin {layer.cross_replica_syncer_plugin_ref} is no cross-replica syncer: there "
            "is none in this version",
        )
    if layer.cross_replica_sync_interval is not None:
        findings.note(
            f"{path}.crossReplicaSyncInterval", "without-effect", "has no effect in this version"
        )
    if layer.discovery is None:
        return None
    return shelf.find(
        layer.discovery.plugin_ref, Discovery, f"{path}.discovery.pluginRef", what="a discovery"
    )


def find_parsers(config: ConfigSection, shelf: Shelf, findings: Findings) -> list[Parser]:
    """The parsers in the order of their choice; a name that is not declared may be a type.

    Where a file of the older group names none, bodies are read as the 2025 release does: it does
    not look at paths.
    """
    references, path = _parser_references(config, findings)
    found: list[Parser] = []
    if not references:
        if config.api_version != NEW_GROUP:
            return [BodyAloneParser()]
        for name in NEWER_PARSERS:
            plugin = shelf.plugins.get(name)
            if not isinstance(plugin, Parser):  # another plugin may bear the name
                plugin = shelf.add(name, "no parser is configured")
            if isinstance(plugin, Parser):
                found.append(plugin)
        return found
    for i, reference in enumerate(references):
        name, place = reference.plugin_ref, path.format(i)
        if name not in shelf.plugins and shelf.is_type(name) and not shelf.is_refused(name):
            shelf.add(name, "named in requestHandler.parsers", path=place)
        parser = shelf.find(name, Parser, place, what="a parser plugin")
        if parser is not None:
            found.append(parser)
    return found


def find_data_layer(config: ConfigSection, shelf: Shelf, findings: Findings) -> DataLayer:
    """The sources with their extractors."""
    layer = config.data_layer
    if layer is None:
        return DataLayer()
    uses: list[SourceUse] = []
    for i, section in enumerate(layer.sources or ()):
        path = f"$.dataLayer.sources[{i}]"
        source = shelf.find(
            section.plugin_ref, DataSource, f"{path}.pluginRef", what="a data source"
        )
        extractors = [
            shelf.find(
                extractor.plugin_ref,
                Extractor,
                f"{path}.extractors[{j}].pluginRef",
                what="an extractor",
            )
            for j, extractor in enumerate(section.extractors or ())
        ]
        if source is None:
            continue
        use = SourceUse(source, tuple([e for e in extractors if e is not None]))
        uses.append(use)
        if len(use.extractors) == len(extractors):
            for j, text in use.problems():
                findings.error(f"{path}.extractors[{j}].pluginRef", "wrong-role", text)
    found = DataLayer(tuple(uses), layer.inject_defaults)
    if not layer.sources and not findings.errors:  # they may have been refused
        for text in found.problems():
            findings.error("$.dataLayer.sources", "wrong-value", text)
    return found


def _parser_references(
    config: ConfigSection, findings: Findings
) -> tuple[Sequence[ReferenceSection], str]:
    """The references, and the path of each with a place for its number."""
    handler = config.request_handler
    new = handler.parsers if handler else None
    if config.parser is not None:
        findings.warn(
            "$.parser.pluginRef",
            "deprecated-key",
            "has no effect beside requestHandler.parsers"
            if new
            else "is deprecated, use requestHandler.parsers",
        )
    if new or config.parser is None:
        return new or (), "$.requestHandler.parsers[{}].pluginRef"
    return [config.parser], "$.parser.pluginRef"
