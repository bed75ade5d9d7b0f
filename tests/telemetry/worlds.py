"""The smallest worlds for these tests: a pool, a decision, a clock that stands still."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from epp.core.clock import Clock
from epp.core.decision import Decision, FilterRun, ProfileRun, SchedulingResult, ScorerRun
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.request import InferenceRequest, RequestBody
from epp.datastore.store import Datastore, Pool
from epp.telemetry.exposition import render


class StillClock(Clock):
    """A quarter past noon."""

    def now(self) -> float:
        return 100.0

    def timestamp(self) -> float:
        return datetime(2026, 11, 24, 12, 15, 0, 250_000, tzinfo=UTC).timestamp()


def series(registry: CollectorRegistry, prefix: str = "") -> dict[str, float]:
    """Every line of the page that begins with ``prefix``; a line that comes twice is an error."""
    lines = [line for line in render(registry).split("\n") if not line.startswith("#")]
    pairs = [line.rsplit(" ", 1) for line in lines if line and line.startswith(prefix)]
    values = {name: float(value) for name, value in pairs}
    assert len(values) == len(pairs)
    return values


def endpoint(name: str) -> Endpoint:
    return Endpoint(id=f"ns/{name}", name=name, namespace="ns", address="10.0.0.1", port=8000)


def pool(name: str, metrics: Mapping[str, EndpointMetrics]) -> Datastore:
    store = Datastore()
    store.set_pool(Pool(name=name, namespace="ns"))
    for endpoint_name, read in metrics.items():
        store.put_endpoint(endpoint(endpoint_name))
        store.scrape_succeeded(f"ns/{endpoint_name}", read)
    return store


def decision(request_id: str = "r1", model: str = "m", prompt: str = "secret") -> Decision:
    a, b, c = endpoint("a"), endpoint("b"), endpoint("c")
    run = ProfileRun(
        profile="default",
        candidates=(a, b, c),
        filters=(FilterRun("low-queue", (c,)),),
        scored=(a, b),
        scorers=(ScorerRun("queue-scorer", 2.0, (0.25, 1.0)),),
        totals=(0.5, 2.0),
        picker="max-score-picker",
        picked=(b,),
    )
    return Decision(
        request=InferenceRequest(
            request_id=request_id,
            headers={"authorization": b"Bearer secret"},
            body=RequestBody(model=model, prompt=prompt),
            incoming_model=model,
            target_model="t",
        ),
        result=SchedulingResult(primary="default", profiles={"default": run, "extra": None}),
        destination="10.0.0.1:8000",
        set_headers=(),
        body=prompt.encode(),
    )
