from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import contenders
from benchmarks.bed import bed, sample
from benchmarks.cases import CHUNK, SMALL
from benchmarks.contenders import Contender
from benchmarks.figures import Latency
from benchmarks.load import Result
from benchmarks.measure import CpuUse
from lab.process import ProcessError

RESULT = Result(sent=10, good=8, seconds=2.0, cpu_seconds=0.5, chunks=400, latencies_ms=[1.0] * 8)


def test_cost_is_net_of_idling_and_per_good_answer() -> None:
    use = CpuUse(wall_seconds=2.0, cpu_seconds=1.0)
    found = sample(SMALL, RESULT, use, CpuUse(2.0, 0.4), idle_cores=0.1, messages=48)
    assert (found.value, found.envoy_value, found.messages) == pytest.approx((100.0, 50.0, 6.0))
    assert found.latency == Latency(1.0, 1.0, 1.0)
    assert (found.requests_per_second, found.load_cores) == (4.0, 0.25)
    assert found.bad_answers == 2


def test_streams_cost_per_chunk() -> None:
    use = CpuUse(wall_seconds=2.0, cpu_seconds=0.4)
    found = sample(CHUNK, RESULT, use, CpuUse(2.0, 0.04), idle_cores=0.0, messages=400)
    assert (found.value, found.envoy_value, found.messages) == pytest.approx((1000.0, 100.0, 1.0))


@pytest.mark.system
def test_two_pickers_take_turns_before_the_same_model_servers(tmp_path: Path) -> None:
    case = msgspec.structs.replace(SMALL, requests=200, seconds=5.0)
    other = msgspec.structs.replace(contenders.ours(["--v=0"]), name="other")
    with (
        bed(tmp_path, endpoints=3, one_port=sys.platform == "linux") as shared,
        shared.gateway(contenders.ours(), endpoints=3) as first,
        shared.gateway(other, endpoints=2) as second,
    ):
        for gateway in (first, second, first):
            shared.only(gateway)
            found = shared.measure(gateway, case)
            assert (found.requests, found.bad_answers) == (200, 0)
            assert found.value > 0
            assert gateway.start_seconds > 0


@pytest.mark.system
def test_a_picker_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    broken = Contender("broken", (sys.executable, "-c", "raise SystemExit('no such flag')"))
    with (
        bed(tmp_path, endpoints=1) as shared,
        pytest.raises(ProcessError, match="no such flag"),
        shared.gateway(broken, endpoints=1),
    ):
        pass
