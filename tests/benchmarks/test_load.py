from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.backend import STREAM, STREAM_EVENTS, places
from benchmarks.load import Plan, Result
from lab import http
from lab.ports import free_port, free_range
from lab.process import running


@pytest.mark.parametrize(
    ("latencies", "median", "last"),
    [([5.0], 5.0, 5.0), ([4.0, 1.0, 3.0, 2.0], 3.0, 4.0)],
)
def test_percentiles_are_of_sorted_latencies(
    latencies: list[float], median: float, last: float
) -> None:
    result = Result(latencies_ms=latencies)
    assert (result.percentile(0.5), result.percentile(0.99)) == (median, last)


def test_model_servers_differ_by_port_or_by_address() -> None:
    assert places(9000, 2, one_port=False) == [("127.0.0.1", 9000), ("127.0.0.1", 9001)]
    many = places(9000, 300, one_port=True)
    assert many[0] == ("127.0.1.1", 9000)
    assert many[-1] == ("127.0.2.44", 9000)


@pytest.mark.system
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rate": 200.0},
        {"stream": True},
        {"prompt_characters": 400_000, "concurrency": 2},
    ],
    ids=["closed loop", "open loop", "streams", "long prompts"],
)
def test_the_load_generator_and_the_backend_agree(
    options: dict[str, object], tmp_path: Path
) -> None:
    ports = free_range(2)
    command = [sys.executable, "-m", "benchmarks.backend", "--port", str(ports[0])]
    command += ["--endpoints", "2"]
    log = tmp_path / "backend.log"
    with running("backend", command, log=log, ready=lambda: http.answers(ports[1], "/health")):
        plan = msgspec.convert(
            {"port": ports[0], "requests": 40, "seconds": 5.0, "concurrency": 8, **options}, Plan
        )
        result = run(plan, tmp_path)
    assert (result.bad, result.problems) == (0, {})
    assert 40 <= result.good <= 48
    assert result.chunks == (result.good * STREAM_EVENTS if plan.stream else 0)
    assert result.cpu_seconds > 0
    assert len(STREAM) > 10_000


@pytest.mark.system
def test_an_answer_that_is_no_model_servers_counts_as_wrong(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    log = tmp_path / "other.log"
    with running("other", command, log=log, ready=lambda: http.answers(port, "/")):
        result = run(Plan(port=port, requests=3, seconds=5.0, concurrency=1), tmp_path)
    assert (result.good, result.bad) == (0, 3)
    assert result.problems


def run(plan: Plan, directory: Path) -> Result:
    plan_file, result_file = directory / "plan.json", directory / "result.json"
    plan_file.write_bytes(msgspec.json.encode(plan))
    load = [sys.executable, "-m", "benchmarks.load", str(plan_file), str(result_file)]
    subprocess.run(load, check=True, timeout=30)
    return msgspec.json.decode(result_file.read_bytes(), type=Result)
