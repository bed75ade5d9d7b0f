"""Reports with made-up figures."""

from __future__ import annotations

from benchmarks import cases
from benchmarks.cases import REFERENCES
from benchmarks.figures import Latency, Report, Row, Sample
from benchmarks.measure import Machine

MACHINE = Machine(
    cpu_model="Some CPU",
    cores=2,
    system="Linux",
    python="3.11.7",
    git_commit="abc1234",
    date="2026-01-02T03:04:05+00:00",
    load_average=0.1,
)
LATENCY = Latency(1.0, 2.0, 3.0)


def make_row(name: str, ours: list[float], other: list[float] | None = None, **more: float) -> Row:
    """A row whose samples have these values; ``more`` are further fields of ours."""
    return Row(
        name,
        REFERENCES[name],
        [Sample(value=value, latency=LATENCY, envoy_value=more.get("envoy")) for value in ours],
        [Sample(value=value, latency=LATENCY) for value in other or []],
    )


def make_report(*, compared_with: str = "", other: list[float] | None = None) -> Report:
    """Two cases: Envoy is half again as dear here for a request, and as dear for a chunk."""
    rows = [
        make_row(cases.SMALL.name, [0.42, 0.40, 0.44], other, envoy=0.285),
        make_row(cases.CHUNK.name, [16.0, 15.0, 17.0], other, envoy=23.0),
    ]
    return Report(MACHINE, False, 3, rows, [], compared_with)
