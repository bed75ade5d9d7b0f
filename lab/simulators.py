"""Simulated model servers as a process: ``python -m epp simulator``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import http
from lab.endpoints import LabEndpoint, consecutive
from lab.ports import free_range
from lab.process import Process, running


class Simulators:
    """Running model servers on neighbouring ports of one process."""

    def __init__(self, process: Process, model: str, endpoints: Sequence[LabEndpoint]) -> None:
        self.process = process
        self.model = model
        self.endpoints = list(endpoints)


@contextlib.contextmanager
def run_simulators(
    directory: Path,
    *,
    replicas: int = 3,
    model: str = "meta-llama/Llama-3.1-8B-Instruct",
    flags: Sequence[str] = (),
) -> Iterator[Simulators]:
    """Start model servers and hand them over when each answers ``/health``.

    Raises:
        ProcessError: the simulator ended early or was not ready in time.
    """
    first, *_ = ports = free_range(replicas)
    command = [sys.executable, "-m", "epp", "simulator", "--model", model, "--host", "127.0.0.1"]
    command += ["--port", str(first), "--replicas", str(replicas), *flags]
    with running(
        "simulators",
        command,
        log=directory / f"simulators-{first}.log",
        ready=lambda: all(http.answers(port, "/health") for port in ports),
    ) as process:
        yield Simulators(process, model, consecutive(first, replicas))
