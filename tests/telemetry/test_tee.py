from __future__ import annotations

from epp.core.decision import Decision
from epp.core.probe import Probe
from epp.core.request import Usage
from epp.telemetry.tee import Probes
from tests.fakes import FakeProbe
from tests.telemetry.worlds import decision


class Decisions(Probe):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def decided(self, decision: Decision) -> None:
        self.seen.append(decision.request.request_id)


class Everything(Decisions):
    def scheduled(self, seconds: float) -> None:
        self.seen.append(f"scheduled {seconds}")

    def response_complete(
        self,
        model: str,
        target: str,
        *,
        seconds: float,
        size_bytes: int,
        is_streaming: bool,
        usage: Usage | None,
    ) -> None:
        self.seen.append(f"complete {model}")


def test_each_report_goes_to_those_who_want_it() -> None:
    first, second = Everything(), Decisions()
    probes = Probes(first, second)
    probes.decided(decision("r1"))
    probes.scheduled(0.5)
    probes.response_complete("m", "t", seconds=1.0, size_bytes=1, is_streaming=False, usage=None)
    assert first.seen == ["r1", "scheduled 0.5", "complete m"]
    assert second.seen == ["r1"]


def test_each_call_of_a_plugin_goes_to_those_who_time_it() -> None:
    first, second = FakeProbe(), FakeProbe()
    Probes(first, Decisions(), second).plugin_timer("Picker", "t", "n")(0.1)
    assert first.plugins == second.plugins == [("Picker", "t", "n")]
    Probes(Decisions()).plugin_timer("Picker", "t", "n")(0.1)


def test_a_report_for_one_is_its_own_method_and_one_tee_fits_in_another() -> None:
    first, second = Everything(), Decisions()
    inner = Probes(first)
    assert inner.scheduled == first.scheduled
    outer = Probes(inner, second)
    assert outer.scheduled == first.scheduled
    outer.decided(decision("r2"))
    assert first.seen == second.seen == ["r2"]
