"""What is counted of prompts that endpoints have seen before.

Differs: the older families, which have no labels, are the sums of all plugins of this kind, and are
there, as zeros, from the start.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, the prefix plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from prometheus_client import CollectorRegistry

from epp.core.probe import Probe
from epp.telemetry import buckets
from epp.telemetry.exposition import spell_labels
from epp.telemetry.histogram import Histograms, HistogramSeries, add_up
from epp.telemetry.labels import label_text
from epp.telemetry.numbers import Numbers

_OLD, _NEW = "inference_extension_prefix_indexer", "llm_d_epp_prefix_indexer"
_SIZE = "Prompt blocks in the prefix index, counted for every endpoint that has seen them."


class _Plugin:
    """What one plugin knows; ``labels`` are its own, as on the page."""

    __slots__ = ("entries", "hit_bytes", "hit_ratio", "labels")

    def __init__(self, plugin_type: str, name: str) -> None:
        self.labels = spell_labels(
            {"plugin_type": label_text(plugin_type), "plugin_name": label_text(name)}
        )
        self.entries = 0
        self.hit_ratio = HistogramSeries(buckets.RATIO)
        self.hit_bytes = HistogramSeries(buckets.HIT_BYTES)


class PrefixMetrics(Probe):
    """The families of prefix indexes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._plugins: dict[str, _Plugin] = {}
        registry.register(
            Numbers(
                f"{_OLD}_size",
                _SIZE,
                "gauge",
                lambda: [("", sum(plugin.entries for plugin in self._all()))],
            )
        )
        registry.register(
            Numbers(
                f"{_NEW}_size",
                _SIZE,
                "gauge",
                lambda: [(plugin.labels, plugin.entries) for plugin in self._all()],
            )
        )
        for name, text, bounds in (
            ("hit_ratio", "Share of a prompt's blocks that its endpoint had seen.", buckets.RATIO),
            ("hit_bytes", "Bytes of a prompt that its endpoint had seen.", buckets.HIT_BYTES),
        ):
            of = attrgetter(name)
            registry.register(Histograms(f"{_OLD}_{name}", text, bounds, self._sum(bounds, of)))
            registry.register(Histograms(f"{_NEW}_{name}", text, bounds, self._each(of)))

    def prefix_matched(
        self, plugin_type: str, name: str, matched_blocks: int, total_blocks: int, block_bytes: int
    ) -> None:
        plugin = self._plugins.get(name) or self._add(plugin_type, name)
        if total_blocks > 0:
            plugin.hit_ratio.observe(matched_blocks / total_blocks)
        plugin.hit_bytes.observe(matched_blocks * block_bytes)

    def prefix_index_sized(self, plugin_type: str, name: str, entries: int) -> None:
        plugin = self._plugins.get(name) or self._add(plugin_type, name)
        plugin.entries = entries

    def _add(self, plugin_type: str, name: str) -> _Plugin:
        plugin = self._plugins[name] = _Plugin(plugin_type, name)
        return plugin

    def _all(self) -> list[_Plugin]:
        return list(self._plugins.values())

    def _each(
        self, of: Callable[[_Plugin], HistogramSeries]
    ) -> Callable[[], Iterator[tuple[str, HistogramSeries]]]:
        return lambda: ((plugin.labels, of(plugin)) for plugin in self._all())

    def _sum(
        self, bounds: Sequence[float], of: Callable[[_Plugin], HistogramSeries]
    ) -> Callable[[], Sequence[tuple[str, HistogramSeries]]]:
        nothing = HistogramSeries(bounds)
        return lambda: [("", add_up([nothing, *map(of, self._all())]))]
