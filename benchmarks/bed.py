"""The test bed: fake model servers, a picker behind a real Envoy, load, and what it all used."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import backend
from benchmarks.cases import Case, Unit
from benchmarks.contenders import CONFIG_FILE, Contender, started
from benchmarks.figures import Latency, Sample
from benchmarks.load import Plan, Result
from benchmarks.measure import CpuSpan, CpuUse
from lab import http as lab_http
from lab.endpoints import LabEndpoint
from lab.envoy import Envoy, run_envoy
from lab.picker import PickerPorts, is_serving
from lab.ports import free_port, free_range
from lab.process import Process, ProcessError, running

SETTLE_SECONDS = 1.5
_RESUME_SECONDS = 0.5
_START_SECONDS = 60.0
_POLL_SECONDS = 0.015


class Gateway:
    """A picker behind an Envoy of its own; it runs until ``Bed.only`` gives way to another."""

    def __init__(
        self, contender: Contender, picker: Process, envoy: Envoy, start_seconds: float
    ) -> None:
        self.contender = contender
        self.picker = picker
        self.envoy = envoy
        self.start_seconds = start_seconds
        # What the picker uses without requests, taken off from what it uses with them.
        self.idle_cores = 0.0


class Bed:
    """Model servers that all pickers share; made by ``bed``."""

    def __init__(self, directory: Path, endpoints: Sequence[LabEndpoint], config: Path) -> None:
        self.endpoints = endpoints
        self._directory = directory
        self._config = config
        self._loads = 0
        self._gateways: list[Gateway] = []

    @contextlib.contextmanager
    def gateway(
        self, contender: Contender, *, endpoints: int, verbosity: int = 1
    ) -> Iterator[Gateway]:
        """Envoy first, then the picker, which is ready when a request has been answered."""
        ports, chosen = PickerPorts.free(), self.endpoints[:endpoints]
        with run_envoy(self._directory, picker_port=ports.grpc, endpoints=chosen) as envoy:
            begun = time.monotonic()
            with started(
                contender,
                self._directory,
                chosen,
                ports,
                verbosity=verbosity,
                config_file=self._config,
            ) as picker:
                seconds = _wait_for_answer(picker, envoy.port, begun)
                picker.wait_ready(lambda: is_serving(ports.health))
                gateway = Gateway(contender, picker, envoy, seconds)
                self._gateways.append(gateway)
                try:
                    yield gateway
                finally:
                    self._gateways.remove(gateway)

    def only(self, gateway: Gateway) -> None:
        """Let this picker run and pause all others, so that they do not disturb."""
        others = [other for other in self._gateways if other is not gateway]
        for other in others:
            other.picker.pause()
        gateway.picker.resume()
        if others:
            time.sleep(_RESUME_SECONDS)

    def idle(self, gateway: Gateway, *, seconds: float) -> Sample:
        """Cores that the picker uses while it only reads metrics; remembered by the gateway."""
        time.sleep(SETTLE_SECONDS)
        reads, span = self._reads(), CpuSpan(gateway.picker.pid)
        time.sleep(seconds)
        use, reads = span.read(), self._reads() - reads
        gateway.idle_cores = use.cores
        rate = reads / use.wall_seconds
        return Sample(value=use.cores, cores=use.cores, scrapes_per_second=rate)

    def measure(self, gateway: Gateway, case: Case, *, share: float = 1.0) -> Sample:
        """Send the case and say what it cost, after a short warm-up where there are many."""
        envoy = gateway.envoy
        if case.requests * share > 500:
            self._load(case.plan(envoy.port, share=0.08 * share, seed=99))
        messages = envoy.stat("stream_msgs_sent")
        picker_span, envoy_span = CpuSpan(gateway.picker.pid), CpuSpan(envoy.process.pid)
        result = self._load(case.plan(envoy.port, share=share))
        use, envoy_use = picker_span.read(), envoy_span.read()
        messages = envoy.stat("stream_msgs_sent") - messages
        return sample(case, result, use, envoy_use, gateway.idle_cores, messages)

    def _reads(self) -> int:
        place = self.endpoints[0]
        return int(lab_http.get(place.port, "/reads", address=place.address)[1])

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


@contextlib.contextmanager
def bed(
    directory: Path, *, endpoints: int, one_port: bool = False, config: Path = CONFIG_FILE
) -> Iterator[Bed]:
    """Start so many model servers.

    Raises:
        ProcessError: they did not start.
    """
    port = free_port() if one_port else free_range(endpoints)[0]
    places = backend.places(port, endpoints, one_port=one_port)
    command = [sys.executable, "-m", "benchmarks.backend", "--port", str(port)]
    command += ["--endpoints", str(endpoints), *(["--one-port"] if one_port else [])]
    last_address, last_port = places[-1]
    with running(
        "backend",
        command,
        log=directory / "backend.log",
        ready=lambda: lab_http.answers(last_port, "/health", address=last_address),
    ):
        named = [
            LabEndpoint(f"model-server-{index}", address, port)
            for index, (address, port) in enumerate(places)
        ]
        yield Bed(directory, named, config)


def sample(
    case: Case, result: Result, use: CpuUse, envoy_use: CpuUse, idle_cores: float, messages: int
) -> Sample:
    """CPU per good request or chunk, and what surrounds it."""
    count, scale = max(result.good, 1), 1e3
    if case.unit is Unit.US_PER_CHUNK:
        count, scale = max(result.chunks, 1), 1e6
    return Sample(
        value=use.net(idle_cores) / count * scale,
        latency=Latency(*(result.percentile(share) for share in (0.5, 0.95, 0.99))),
        requests=result.sent,
        requests_per_second=result.good / result.seconds,
        cores=use.cores,
        load_cores=result.cpu_seconds / result.seconds,
        envoy_value=envoy_use.cpu_seconds / count * scale,
        messages=messages / count,
        bad_answers=result.bad,
        problems=result.problems,
    )


def _wait_for_answer(picker: Process, port: int, begun: float) -> float:
    """Seconds from ``begun`` until a request is answered by a model server.

    Raises:
        ProcessError: the picker ended, or time ran out.
    """
    body = msgspec.json.encode({"model": backend.MODEL, "prompt": "hello", "max_tokens": 1})
    while (waited := time.monotonic() - begun) < _START_SECONDS:
        if not picker.running:
            code = picker.exit_code
            raise ProcessError(f"{picker.name} ended with code {code}\n{picker.describe()}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            with contextlib.closing(connection):
                connection.request(
                    "POST", "/v1/completions", body, {"content-type": "application/json"}
                )
                response = connection.getresponse()
                if response.status == 200 and response.read() == backend.COMPLETION:
                    return time.monotonic() - begun
        time.sleep(_POLL_SECONDS)
    raise ProcessError(f"no request was answered within {waited:.0f} s\n{picker.describe()}")
