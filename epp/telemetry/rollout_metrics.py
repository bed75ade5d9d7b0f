"""What is counted of roll-outs of disaggregated sets.

Source: llm-d-router v0.10, disaggregatedset-rollout-screener.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry

from epp.core.probe import Probe
from epp.telemetry.exposition import spell_labels
from epp.telemetry.labels import Series, label_text
from epp.telemetry.numbers import Number, Numbers, values_of

_PREFIX = "llm_d_epp_disaggregatedset"


class RolloutMetrics(Probe):
    """The families of the screener; a revision that is gone has no series any more."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._unmatched: Series[Number] = Series(("plugin_type", "plugin_name", "selector"), Number)
        self._shares: dict[tuple[str, str], tuple[str, Mapping[str, float]]] = {}
        registry.register(
            Numbers(
                f"{_PREFIX}_strict_header_no_match_total",
                "Requests that were refused because no endpoint fits a strict header.",
                "counter",
                values_of(self._unmatched),
            )
        )
        registry.register(
            Numbers(
                f"{_PREFIX}_revision_gating_share",
                "A revision's chance of being drawn for a request.",
                "gauge",
                self._revisions,
            )
        )

    def pin_unmatched(self, plugin_type: str, name: str, selector: str) -> None:
        labels = (label_text(plugin_type), label_text(name), label_text(selector))
        self._unmatched[labels].value += 1

    def revisions_weighed(
        self, plugin_type: str, name: str, mode: str, shares: Mapping[str, float]
    ) -> None:
        self._shares[(plugin_type, name)] = (mode, shares)

    def _revisions(self) -> Iterator[tuple[str, float]]:
        for (plugin_type, name), (mode, shares) in list(self._shares.items()):
            for revision, share in shares.items():
                labels = {
                    "plugin_type": label_text(plugin_type),
                    "plugin_name": label_text(name),
                    "mode": label_text(mode),
                    "revision": label_text(revision),
                }
                yield spell_labels(labels), share
