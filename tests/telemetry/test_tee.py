from __future__ import annotations

from epp.core.decision import Decision
from epp.core.endpoint import Endpoint
from epp.core.probe import Probe
from epp.core.request import RequestKey
from epp.telemetry.tee import Probes
from tests.fakes import FakeProbe
from tests.telemetry.worlds import decision


class Decisions(Probe):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def decided(self, decision: Decision) -> None:
        self.seen.append(decision.request.request_id)


class Everything(Decisions):
    def scheduled(self, seconds: float, target: str, picked: Endpoint | None) -> None:
        self.seen.append(f"scheduled {target} {seconds}")

    def request_routed(self, key: RequestKey, *, size_bytes: int, seconds: float) -> None:
        self.seen.append(f"routed {key.model} {size_bytes}")


def test_each_report_goes_to_those_who_want_it() -> None:
    first, second = Everything(), Decisions()
    probes = Probes(first, second)
    probes.decided(decision("r1"))
    probes.scheduled(0.5, "t", None)
    probes.request_routed(RequestKey("m", "t"), size_bytes=1, seconds=0.0)
    assert first.seen == ["r1", "scheduled t 0.5", "routed m 1"]
    assert second.seen == ["r1"]


def test_each_gap_goes_to_those_who_time_it() -> None:
    key = RequestKey("m", "t")
    first, second = FakeProbe(), FakeProbe()
    Probes(first, Decisions(), second).gap_timer(key)(0.25)
    Probes(first).gap_timer(key)(0.5)
    Probes(Decisions()).gap_timer(key)(1.0)
    assert (first.gaps, second.gaps) == ([0.25, 0.5], [0.25])
    assert second.keys == [key]


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
