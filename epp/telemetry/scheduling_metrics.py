"""What is counted of decisions: scheduling cycles, calls of plugins, rewrites.

Differs: metrics without labels and those of plugins are there, as zeros, from the start. After
10,000 pairs of an endpoint and a target model the models of further ones are ``other``; the series
of an endpoint go with it.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from prometheus_client import CollectorRegistry

from epp.core.endpoint import Endpoint
from epp.core.probe import Probe, Timer
from epp.datastore.store import Datastore
from epp.telemetry import buckets
from epp.telemetry.exposition import spell_labels
from epp.telemetry.histogram import Histograms, HistogramSeries
from epp.telemetry.labels import MAX_SERIES, OTHER, Limit, Series, label_text
from epp.telemetry.numbers import Number, Numbers, values_of

MAX_ATTEMPTS = 10 * MAX_SERIES
_PREFIXES = ("inference_extension", "llm_d_epp")


class SchedulingMetrics(Probe):
    """The families of scheduling; models in ``pinned`` are never ``other``."""

    def __init__(
        self, registry: CollectorRegistry, datastore: Datastore, pinned: Collection[str]
    ) -> None:
        self._pinned = pinned
        self._cycles = HistogramSeries(buckets.SCHEDULING)
        self._plugins: Series[HistogramSeries] = Series(
            ("extension_point", "plugin_type", "plugin_name"),
            lambda: HistogramSeries(buckets.SCHEDULING),
        )
        self._errors, self._overruns, self._aside = [
            Series(("extension_point", "plugin_type", "plugin_name"), Number) for _ in range(3)
        ]
        self._rewrites: Series[Number] = Series(
            ("model_rewrite_name", "model_name", "target_model"), Number
        )
        self._rewrites_limit = Limit()
        self._attempts = Attempts(pinned)
        datastore.subscribe(added=_ignore, removed=self._attempts.forget)
        for family in self._families():
            registry.register(family)

    def plugin_timer(self, point: str, type_name: str, name: str) -> Timer:
        labels = _labels(point, type_name, name)
        for series in (self._errors, self._overruns):
            series[labels].value += 0
        self._aside[labels].value = 0  # a new configuration has it called again
        return self._plugins[labels].observe

    def plugin_failed(self, point: str, type_name: str, name: str, error: Exception) -> None:
        self._errors[_labels(point, type_name, name)].value += 1

    def plugin_overran(self, point: str, type_name: str, name: str, seconds: float) -> None:
        self._overruns[_labels(point, type_name, name)].value += 1

    def plugin_set_aside(self, point: str, type_name: str, name: str) -> None:
        self._aside[_labels(point, type_name, name)].value = 1

    def scheduled(self, seconds: float, target: str, picked: Endpoint | None) -> None:
        self._cycles.observe(seconds)
        self._attempts.count(target, picked)

    def model_rewritten(self, rewrite_name: str, model: str, target: str) -> None:
        names = rewrite_name, model, target
        if names not in self._rewrites:
            names = label_text(rewrite_name), label_text(model), label_text(target)
            if names[1] not in self._pinned and not self._rewrites_limit.admits(names):
                names = names[0], OTHER, names[2]
        self._rewrites[names].value += 1

    def _families(self) -> Iterator[Numbers | Histograms]:
        yield Numbers(
            "epp_plugin_errors_total",
            "Calls of a plugin that failed; it had no say in what was decided.",
            "counter",
            values_of(self._errors),
        )
        yield Numbers(
            "epp_plugin_overruns_total",
            "Calls of a plugin that took longer than its budget.",
            "counter",
            values_of(self._overruns),
        )
        yield Numbers(
            "epp_plugin_set_aside",
            "Whether a plugin is not called any more because it takes too long.",
            "gauge",
            values_of(self._aside),
        )
        for prefix in _PREFIXES:
            yield Histograms(
                f"{prefix}_scheduler_e2e_duration_seconds",
                "Time of a scheduling cycle, with or without a result.",
                buckets.SCHEDULING,
                lambda: [("", self._cycles)],
            )
            yield Histograms(
                f"{prefix}_plugin_duration_seconds",
                "Time of one call of a plugin.",
                buckets.SCHEDULING,
                self._plugins.spelled,
            )
            yield Numbers(
                f"{prefix}_model_rewrite_decisions_total",
                "Requests that a rewrite rule applied to.",
                "counter",
                values_of(self._rewrites),
            )
        for prefix, endpoint_label in zip(_PREFIXES, ("pod_name", "endpoint_name"), strict=True):
            yield Numbers(
                f"{prefix}_scheduler_attempts_total",
                "Scheduling cycles by the endpoint that came first, or by their failure.",
                "counter",
                self._attempts.reader(endpoint_label),
            )


class Attempts:
    """How often each endpoint came first for each target model, and how often none did."""

    def __init__(self, pinned: Collection[str]) -> None:
        self._pinned = pinned
        self._size = 0
        self._tried: dict[str, _Tried] = {}

    def count(self, target: str, picked: Endpoint | None) -> None:
        """A cycle ended."""
        tried = self._tried.get(picked.id if picked else "") or self._add(picked)
        try:
            tried.counts[target] += 1
        except KeyError:
            self._count_other(tried, target)

    def forget(self, endpoint_id: str) -> None:
        """The endpoint left the pool."""
        tried = self._tried.pop(endpoint_id, None)
        if tried is not None:
            self._size -= len(tried.counts)

    def reader(self, endpoint_label: str) -> Callable[[], Iterator[tuple[str, int]]]:
        """How a family reads the counts, under this name for the endpoint."""

        def read() -> Iterator[tuple[str, int]]:
            for tried in list(self._tried.values()):
                for target, count in list(tried.counts.items()):
                    labels = {
                        "status": tried.status,
                        "target_model_name": target,
                        endpoint_label: tried.name,
                        "namespace": tried.namespace,
                        "port": tried.port,
                    }
                    yield spell_labels(labels), count

        return read

    def _add(self, picked: Endpoint | None) -> _Tried:
        tried = self._tried[picked.id if picked else ""] = _Tried(picked)
        return tried

    def _count_other(self, tried: _Tried, target: str) -> None:
        """Count a target that is new, or not known by this name."""
        counts, target = tried.counts, label_text(target)
        if target not in counts:
            if self._size >= MAX_ATTEMPTS and target not in self._pinned:
                target = OTHER
            if target not in counts:
                counts[target] = 0
                self._size += 1
        counts[target] += 1


class _Tried:
    """The counts of one endpoint by target model, or those of failures."""

    __slots__ = ("counts", "name", "namespace", "port", "status")

    def __init__(self, endpoint: Endpoint | None) -> None:
        self.counts: dict[str, int] = {}
        self.status, self.name, self.namespace, self.port = "failure", "", "", ""
        if endpoint is not None:
            self.status = "success"
            self.name = label_text(endpoint.pod or endpoint.name)
            self.namespace = label_text(endpoint.namespace)
            self.port = str(endpoint.port)


def _labels(point: str, type_name: str, name: str) -> tuple[str, str, str]:
    return point, label_text(type_name), label_text(name)


def _ignore(_endpoint: Endpoint) -> None:
    """A new endpoint has no series yet."""
