"""One profile: filter, score, pick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeVar

import msgspec

from epp.core.decision import FilterRun, ProfileRun, ScorerRun
from epp.core.endpoint import Endpoint
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import Filter, Picker, Plugin, Scorer
from epp.core.probe import Probe
from epp.core.request import InferenceRequest

R = TypeVar("R")


class WeightedScorer(msgspec.Struct, frozen=True):
    """A scorer and how much it counts in a profile."""

    scorer: Scorer
    weight: float


class Profile:
    """A named pipeline of filters, weighted scorers and one picker.

    Source: gateway-api-inference-extension 2aaf2a6, framework/scheduler_profile.go.
    """

    def __init__(
        self,
        name: str,
        *,
        filters: Sequence[Filter],
        scorers: Sequence[WeightedScorer],
        picker: Picker,
        probe: Probe,
    ) -> None:
        self.name = name
        self.filters = tuple(filters)
        self.scorers = tuple(scorers)
        self.picker = picker
        self._probe = probe

    def run(self, request: InferenceRequest, candidates: Sequence[Endpoint]) -> ProfileRun:
        """Filter, score and pick, with the reasons.

        Raises:
            ResourceExhaustedError: the filters left nobody.
        """
        endpoints, filter_runs = self._filter(request, candidates)
        scorer_runs, totals = self._score(request, endpoints)
        picked = self._report("Picker", self.picker, self.picker.pick, endpoints, totals)
        return ProfileRun(
            profile=self.name,
            candidates=tuple(candidates),
            filters=filter_runs,
            scored=endpoints,
            scorers=scorer_runs,
            totals=tuple(totals),
            picker=self.picker.name,
            picked=tuple(picked),
        )

    def _filter(
        self, request: InferenceRequest, candidates: Sequence[Endpoint]
    ) -> tuple[tuple[Endpoint, ...], tuple[FilterRun, ...]]:
        runs: list[FilterRun] = []
        endpoints = tuple(candidates)
        for plugin in self.filters:
            kept = tuple(self._report("Filter", plugin, plugin.filter, request, endpoints))
            kept_ids = {endpoint.id for endpoint in kept}
            removed = tuple([e for e in endpoints if e.id not in kept_ids])
            runs.append(FilterRun(plugin=plugin.name, removed=removed))
            endpoints = kept
            if not endpoints:
                raise ResourceExhaustedError("no pods available for the given request")
        return endpoints, tuple(runs)

    def _score(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> tuple[tuple[ScorerRun, ...], list[float]]:
        runs: list[ScorerRun] = []
        totals = [0.0] * len(endpoints)
        for weighted in self.scorers:
            scorer, weight = weighted.scorer, weighted.weight
            scores = self._report("Scorer", scorer, scorer.score, request, endpoints)
            runs.append(ScorerRun(plugin=scorer.name, weight=weight, scores=tuple(scores)))
            totals = [
                total + _clamp(score) * weight for total, score in zip(totals, scores, strict=True)
            ]
        return tuple(runs), totals

    def _report(self, point: str, plugin: Plugin, call: Callable[..., R], *args: object) -> R:
        started = perf_counter()
        try:
            return call(*args)
        finally:
            self._probe.plugin_ran(point, plugin.type, plugin.name, perf_counter() - started)


def _clamp(score: float) -> float:
    """``score`` within 0..1; NaN counts as 0 (Differs: Go lets it poison the sum)."""
    if score >= 1.0:
        return 1.0
    return score if score > 0.0 else 0.0
