"""Runs the cases: the picker, a real Envoy, the fake model server and the load generator."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import cases
from benchmarks.cases import Case, Unit
from benchmarks.load import Plan, Result
from benchmarks.measure import CpuSpan, CpuUse, Machine, memory
from lab import http
from lab.endpoints import LabEndpoint, consecutive
from lab.envoy import Envoy, run_envoy
from lab.picker import Picker, run_picker
from lab.ports import free_range
from lab.process import Process, running

TRAFFIC_ENDPOINTS = 10
SCRAPED_ENDPOINTS = 100
_SETTLE_SECONDS = 1.5


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the client's side."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


class Figure(msgspec.Struct, frozen=True):
    """One row: the picker's cost, the reference, and what surrounds it."""

    name: str
    unit: Unit
    value: float
    reference: float
    latency: Latency | None = None
    requests: int = 0
    requests_per_second: float = 0.0
    # What the picker used in all, idle part included, while the load ran.
    cores: float = 0.0
    envoy_value: float | None = None
    # Messages Envoy sent to the picker, per request or per chunk.
    messages: float | None = None
    # Pages the picker read while idle; fewer than expected means it did not get its share of CPU.
    scrapes_per_second: float | None = None
    bad_answers: int = 0
    problems: dict[str, int] = {}
    note: str = ""

    @property
    def ratio(self) -> float:
        """1.0 is the reference; less is cheaper."""
        return self.value / self.reference


class Report(msgspec.Struct, frozen=True):
    """Everything that is written as JSON."""

    machine: Machine
    quick: bool
    figures: list[Figure]


class Bench:
    """One run; ``tell`` receives each figure as it comes."""

    def __init__(
        self,
        directory: Path,
        *,
        quick: bool,
        flags: Sequence[str],
        tell: Callable[[Figure], None],
    ) -> None:
        self._directory = directory
        self._quick = quick
        self._flags = flags
        self._tell = tell
        self._figures: list[Figure] = []
        self._loads = 0
        self._backend_port = 0

    def run(self) -> Report:
        """All cases, one after the other.

        Raises:
            ProcessError: a process did not start, or died.
        """
        machine = Machine.here()
        with self._backend() as endpoints:
            self._backend_port = endpoints[0].port
            self._traffic(endpoints[:TRAFFIC_ENDPOINTS])
            self._verbose_traffic(endpoints[:TRAFFIC_ENDPOINTS])
            with run_picker(self._directory, endpoints, flags=self._flags) as picker:
                self._idle(picker, len(endpoints))
        return Report(machine, self._quick, self._figures)

    @contextlib.contextmanager
    def _backend(self) -> Iterator[list[LabEndpoint]]:
        ports = free_range(SCRAPED_ENDPOINTS)
        command = [sys.executable, "-m", "benchmarks.backend", "--port", str(ports[0])]
        command += ["--endpoints", str(len(ports))]
        with running(
            "backend",
            command,
            log=self._directory / "backend.log",
            ready=lambda: http.answers(ports[-1], "/health"),
        ):
            yield consecutive(ports[0], len(ports))

    def _traffic(self, endpoints: Sequence[LabEndpoint]) -> None:
        with self._gateway(endpoints, self._flags) as (picker, envoy):
            start = memory(picker.process.pid)
            self._add(
                Figure(
                    "memory at start", Unit.MIB, start.now_mib, reference=cases.START_MIB_REFERENCE
                )
            )
            idle_cores = self._idle(picker, len(endpoints))
            for case in cases.CASES:
                self._measure(case, picker, envoy, idle_cores, self._share(0.25))
            # Never shortened: the memory after them is a figure, too.
            sent = sum(
                self._measure(case, picker, envoy, idle_cores, share=1.0)
                for case in cases.LONG_CASES
            )
            end = memory(picker.process.pid)
            note = f"after {sent} long prompts"
            if end.peak_mib is not None:
                note += f", peak {end.peak_mib:.0f}"
            self._add(
                Figure(
                    "memory at end",
                    Unit.MIB,
                    end.now_mib,
                    reference=cases.END_MIB_REFERENCE,
                    note=note,
                )
            )

    def _verbose_traffic(self, endpoints: Sequence[LabEndpoint]) -> None:
        with self._gateway(endpoints, [*self._flags, "--v=4"]) as (picker, envoy):
            idle, _ = self._idle_use(picker, seconds=3 if self._quick else 8)
            self._measure(cases.SMALL_VERBOSE, picker, envoy, idle.cores, self._share(0.2))

    @contextlib.contextmanager
    def _gateway(
        self, endpoints: Sequence[LabEndpoint], flags: Sequence[str]
    ) -> Iterator[tuple[Picker, Envoy]]:
        with (
            run_picker(self._directory, endpoints, flags=flags) as picker,
            run_envoy(self._directory, picker_port=picker.port, endpoints=endpoints) as envoy,
        ):
            yield picker, envoy

    def _idle(self, picker: Picker, endpoints: int) -> float:
        use, scrapes = self._idle_use(picker, seconds=4 if self._quick else 12)
        rate = scrapes / use.wall_seconds
        figure = Figure(
            f"idle, {endpoints} endpoints",
            Unit.CORES,
            use.cores,
            cases.IDLE_REFERENCES[endpoints],
            scrapes_per_second=rate,
            note=f"{rate:.0f} pages read per second",
        )
        self._add(figure)
        return use.cores

    def _idle_use(self, picker: Picker, *, seconds: float) -> tuple[CpuUse, int]:
        time.sleep(_SETTLE_SECONDS)
        reads, span = self._reads(), CpuSpan(picker.process.pid)
        time.sleep(seconds)
        return span.read(), self._reads() - reads

    def _reads(self) -> int:
        return int(http.get(self._backend_port, "/reads")[1])

    def _measure(
        self, case: Case, picker: Picker, envoy: Envoy, idle_cores: float, share: float
    ) -> int:
        """Warm up, send the case, add its figure; returns how many requests were sent."""
        long = case.prompt_characters >= cases.LONG_PROMPT_CHARACTERS
        if not long:
            self._load(case.plan(envoy.port, share=0.04 * share, seed=99))
        messages = envoy.stat("stream_msgs_sent")
        picker_span, envoy_span = CpuSpan(picker.process.pid), CpuSpan(envoy.process.pid)
        result = self._load(case.plan(envoy.port, share=share))
        use, envoy_use = picker_span.read(), envoy_span.read()
        messages = envoy.stat("stream_msgs_sent") - messages
        self._add(_figure(case, result, use, envoy_use, idle_cores, messages))
        return result.sent

    def _load(self, plan: Plan) -> Result:
        self._loads += 1
        plan_file = self._directory / f"load-{self._loads}.plan.json"
        result_file = self._directory / f"load-{self._loads}.result.json"
        plan_file.write_bytes(msgspec.json.encode(plan))
        command = [sys.executable, "-m", "benchmarks.load", str(plan_file), str(result_file)]
        log = self._directory / f"load-{self._loads}.log"
        with Process("load generator", command, log=log) as process:
            # The plan's time, the last answers', and that of starting.
            process.wait(plan.seconds + plan.answer_timeout_seconds + 10)
            return msgspec.json.decode(result_file.read_bytes(), type=Result)

    def _share(self, quick: float) -> float:
        return quick if self._quick else 1.0

    def _add(self, figure: Figure) -> None:
        self._figures.append(figure)
        self._tell(figure)


def _figure(
    case: Case, result: Result, use: CpuUse, envoy_use: CpuUse, idle_cores: float, messages: int
) -> Figure:
    count, scale = max(result.good, 1), 1e3
    if case.unit is Unit.US_PER_CHUNK:
        count, scale = max(result.chunks, 1), 1e6
    return Figure(
        case.name,
        case.unit,
        use.net(idle_cores) / count * scale,
        case.reference,
        latency=Latency(*(result.percentile(ratio) for ratio in (0.5, 0.95, 0.99))),
        requests=result.sent,
        requests_per_second=result.good / result.seconds,
        cores=use.cores,
        envoy_value=envoy_use.cpu_seconds / count * scale,
        messages=messages / count,
        bad_answers=result.bad,
        problems=result.problems,
    )
