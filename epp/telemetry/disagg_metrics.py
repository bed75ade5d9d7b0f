"""What is counted of disaggregated requests: how many had a prefill or an encode endpoint.

The names with ``pd`` count the same; they are from when prefill was the only other stage. The older
families have no labels for the plugin, and are sums.

Source: llm-d-router v0.10, disagg-profile-handler.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from prometheus_client import CollectorRegistry

from epp.core.probe import Probe
from epp.telemetry.exposition import spell_labels
from epp.telemetry.labels import OTHER, Limit, Series, label_text
from epp.telemetry.numbers import Number, Numbers, values_of

_OLD, _NEW = "llm_d_inference_scheduler", "llm_d_epp"
_TEXT = "Requests by the stages that were given an endpoint of their own."
UNKNOWN = "unknown"


class DisaggMetrics(Probe):
    """The families of disaggregation; models in ``pinned`` are never ``other``."""

    def __init__(self, registry: CollectorRegistry, pinned: Collection[str]) -> None:
        self._pinned = pinned
        self._limit = Limit()
        self._decisions: Series[Number] = Series(
            ("plugin_type", "plugin_name", "model_name", "decision_type"), Number
        )
        for kind in ("disagg", "pd"):
            name = f"{kind}_decision_total"
            registry.register(
                Numbers(f"{_NEW}_{name}", _TEXT, "counter", values_of(self._decisions))
            )
            registry.register(Numbers(f"{_OLD}_{name}", _TEXT, "counter", self._sums))

    def disaggregated(self, plugin_type: str, name: str, target: str, stages: str) -> None:
        labels = plugin_type, name, target or UNKNOWN, stages
        if labels not in self._decisions:
            model = label_text(target or UNKNOWN)
            if model not in self._pinned and not self._limit.admits(model):
                model = OTHER
            labels = label_text(plugin_type), label_text(name), model, stages
        self._decisions[labels].value += 1

    def _sums(self) -> Iterator[tuple[str, float]]:
        sums: Counter[tuple[str, str]] = Counter()
        for (_type, _name, model, stages), number in list(self._decisions.items()):
            sums[model, stages] += int(number.value)
        for (model, stages), count in sums.items():
            yield spell_labels({"model_name": model, "decision_type": stages}), count
