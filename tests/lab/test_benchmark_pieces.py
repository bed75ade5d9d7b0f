"""The parts of the benchmarks whose mistakes would show as wrong figures, not as errors."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.backend import COMPLETION, EVENT, LAST_EVENTS, STREAM_BYTES, STREAM_EVENTS
from benchmarks.load import Answer, Client, Plan, Result
from benchmarks.measure import CpuSpan, CpuUse, memory
from benchmarks.page import MetricsPage
from benchmarks.prompts import PromptKind, Prompts
from lab import http
from lab.ports import free_range
from lab.process import running


class FakeTransport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def writelines(self, pieces: list[bytes]) -> None:
        self.sent += pieces


def read_answer(pieces: list[bytes]) -> Answer | None:
    async def run() -> Answer | None:
        client = Client()
        client.connection_made(cast(asyncio.Transport, FakeTransport()))
        answer = client.send(b"{}")
        for piece in pieces:
            client.data_received(piece)
        return answer.result() if answer.done() else None

    # With a factory the runner leaves the thread's current loop, which pytest-asyncio owns, alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(run())


def chunked(*chunks: bytes) -> bytes:
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


STREAM = chunked(*[EVENT] * 3, LAST_EVENTS)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(COMPLETION), COMPLETION)


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)))
def test_any_cutting_of_a_chunked_answer_reads_the_same(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    size = 3 * len(EVENT) + len(LAST_EVENTS)
    assert read_answer(pieces) == Answer(status=200, body_bytes=size, newlines=2 * (3 + 2))


@pytest.mark.parametrize("message", [STREAM, PLAIN], ids=["chunked", "with a length"])
def test_an_answer_is_complete_with_its_last_byte_only(message: bytes) -> None:
    assert read_answer([message]) is not None
    assert read_answer([message[:-1]]) is None


def test_a_plain_answer_is_counted() -> None:
    answer = read_answer([PLAIN[:30], PLAIN[30:]])
    assert answer == Answer(status=200, body_bytes=len(COMPLETION), newlines=0)


def test_every_page_differs_and_keeps_its_shape() -> None:
    page = MetricsPage(seed=1)
    pages = [page.read().decode() for _ in range(20)]
    assert len(set(pages)) == len(pages)
    assert all(14_000 < len(text) < 17_000 for text in pages)
    names = [[line.rpartition(" ")[0] for line in text.splitlines()] for text in pages]
    assert all(name == names[0] for name in names)


def test_new_prompts_differ_from_their_first_characters_on() -> None:
    prompts = Prompts(characters=1_000, kind=PromptKind.NEW, stream=False, seed=1)
    texts = [msgspec.json.decode(prompts.body())["prompt"] for _ in range(20)]
    assert {len(text) for text in texts} == {1_000}
    assert len({text[:16] for text in texts}) == len(texts)


def test_repeated_prompts_are_equal() -> None:
    prompts = Prompts(characters=1_000, kind=PromptKind.REPEATED, stream=True, seed=1)
    first, second = prompts.body(), prompts.body()
    assert first == second
    assert msgspec.json.decode(first)["stream"] is True


@pytest.mark.parametrize(
    ("latencies", "median", "last"),
    [([5.0], 5.0, 5.0), ([4.0, 1.0, 3.0, 2.0], 3.0, 4.0)],
)
def test_percentiles_are_of_sorted_latencies(
    latencies: list[float], median: float, last: float
) -> None:
    result = Result(latencies_ms=latencies)
    assert (result.percentile(0.5), result.percentile(0.99)) == (median, last)


def test_idle_use_is_taken_off() -> None:
    use = CpuUse(wall_seconds=10.0, cpu_seconds=3.0)
    assert use.cores == pytest.approx(0.3)
    assert use.net(0.1) == pytest.approx(2.0)


@pytest.mark.system
def test_cpu_and_memory_of_a_session_include_children(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint('spun', flush=True)"
    text = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {busy + "; time.sleep(60)"!r}])
time.sleep(60)
"""
    log = tmp_path / "log"
    command = [sys.executable, "-c", text]
    with running("busy", command, log=log, ready=lambda: "spun" in log.read_text()) as process:
        span = CpuSpan(process.pid)
        time.sleep(0.3)
        assert span.read().cores < 0.2
        assert memory(process.pid).now_mib > 8
    assert memory(os.getsid(0)).now_mib >= 0


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
        plan_file, result_file = tmp_path / "plan.json", tmp_path / "result.json"
        plan_file.write_bytes(msgspec.json.encode(plan))
        load = [sys.executable, "-m", "benchmarks.load", str(plan_file), str(result_file)]
        subprocess.run(load, check=True, timeout=30)
    result = msgspec.json.decode(result_file.read_bytes(), type=Result)
    assert (result.bad, result.problems) == (0, {})
    assert 40 <= result.good <= 48
    assert result.chunks == (result.good * STREAM_EVENTS if plan.stream else 0)
    assert STREAM_BYTES > 10_000
