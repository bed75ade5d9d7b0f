from __future__ import annotations

import gc
import weakref

from epp.telemetry.decisions import DecisionLog
from tests.telemetry.worlds import StillClock, decision


def test_a_record_tells_who_removed_whom_and_every_score() -> None:
    log = DecisionLog(StillClock())
    log.decided(decision())
    assert log.render(10) == [
        {
            "request_id": "r1",
            "time": "2026-11-24T12:15:00.250Z",
            "incoming_model": "m",
            "target_model": "t",
            "destination": "10.0.0.1:8000",
            "primary_profile": "default",
            "profiles": [
                {
                    "profile": "default",
                    "candidates": ["ns/a", "ns/b", "ns/c"],
                    "filters": [{"plugin": "low-queue", "removed": ["ns/c"]}],
                    "scorers": [
                        {
                            "plugin": "queue-scorer",
                            "weight": 2.0,
                            "scores": {"ns/a": 0.25, "ns/b": 1.0},
                        }
                    ],
                    "totals": {"ns/a": 0.5, "ns/b": 2.0},
                    "picker": "max-score-picker",
                    "picked": ["ns/b"],
                    "without": [],
                },
                {"profile": "extra", "failed": True},
            ],
        }
    ]


def test_the_newest_comes_first_and_the_oldest_is_forgotten() -> None:
    log = DecisionLog(StillClock(), capacity=3)
    for number in range(5):
        log.decided(decision(f"r{number}"))
    assert [record["request_id"] for record in log.render(10)] == ["r4", "r3", "r2"]
    assert [record.request_id for record in log.find(2)] == ["r4", "r3"]


def test_a_request_is_found_by_its_id() -> None:
    log = DecisionLog(StillClock())
    long = "x" * 500
    for request_id in ("r1", "r2", "r1", long):
        log.decided(decision(request_id))
    assert len(log.find(10, "r1")) == 2
    assert len(log.find(1, "r1")) == 1
    assert len(log.find(10, long)) == 1
    assert log.find(10, "r9") == []


def test_neither_request_nor_decision_is_kept_alive() -> None:
    log = DecisionLog(StillClock())
    made = decision(prompt="the secret prompt")
    log.decided(made)
    reached: list[object] = [log]
    seen: set[int] = set()
    while reached:
        thing = reached.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        reached.extend(gc.get_referents(thing))
    for kept_out in (made, made.request, made.request.body, made.request.headers, made.body):
        assert id(kept_out) not in seen
    assert id(made.result) in seen
    assert "secret" not in repr(log.render(10))


def test_long_names_from_clients_are_cut() -> None:
    log = DecisionLog(StillClock())
    log.decided(decision(model="m" * 10_000))
    assert log.render(1)[0]["incoming_model"] == "m" * 128


def test_the_log_itself_can_go() -> None:
    log = DecisionLog(StillClock())
    log.decided(decision())
    gone = weakref.ref(log)
    del log
    assert gone() is None
