from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from grpc_health.v1 import health_pb2 as pb

from epp.extproc.health import Health
from epp.rpc import Message, Parts, Status

EXT_PROC = "envoy.service.ext_proc.v3.ExternalProcessor"
STATUS = pb.HealthCheckResponse.ServingStatus


class OneCall:
    """Keeps what it is answered."""

    metadata: Mapping[bytes, bytes] = {}

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.status: int | None = None
        self.text = ""

    def send(self, message: Message) -> None:
        self.sent.append(bytes(message))

    def send_parts(self, parts: Parts) -> None:
        raise AssertionError("one part is enough")

    def finish(
        self,
        status: int = Status.OK,
        text: str = "",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        assert self.status is None
        self.status, self.text = status, text


def ask(health: Health, method: str, data: bytes = b"") -> OneCall:
    call = OneCall()
    health.services[f"/grpc.health.v1.Health/{method}"](call).message(data)
    return call


def check(health: Health, service: str) -> str:
    request: Any = pb.HealthCheckRequest(service=service)
    call = ask(health, "Check", request.SerializeToString())
    assert call.status == Status.OK
    (answer,) = call.sent
    return str(STATUS.Name(pb.HealthCheckResponse.FromString(answer).status))


def listed(health: Health) -> dict[str, str]:
    call = ask(health, "List")
    assert call.status == Status.OK
    (answer,) = call.sent
    statuses = pb.HealthListResponse.FromString(answer).statuses
    return {name: STATUS.Name(found.status) for name, found in statuses.items()}


def make(*, serving: bool, leader: bool | None = None) -> Health:
    return Health(lambda: serving, None if leader is None else lambda: bool(leader))


@pytest.mark.parametrize(("serving", "expected"), [(True, "SERVING"), (False, "NOT_SERVING")])
@pytest.mark.parametrize(
    "service", ["", "inference-extension", "liveness", "readiness", EXT_PROC, "nonsense"]
)
def test_without_leader_election_every_name_gets_the_same_answer(
    service: str, serving: bool, expected: str
) -> None:
    assert check(make(serving=serving), service) == expected


@pytest.mark.parametrize(
    ("serving", "leader", "expected"),
    [
        (True, True, "SERVING"),
        (True, False, "NOT_SERVING"),
        (False, True, "NOT_SERVING"),
        (False, False, "NOT_SERVING"),
    ],
)
@pytest.mark.parametrize("service", ["", "readiness", EXT_PROC])
def test_with_leader_election_traffic_goes_to_a_leader_that_serves(
    service: str, serving: bool, leader: bool, expected: str
) -> None:
    assert check(make(serving=serving, leader=leader), service) == expected


@pytest.mark.parametrize("serving", [True, False])
@pytest.mark.parametrize("leader", [True, False])
def test_with_leader_election_the_process_is_alive_whatever_else_it_does(
    serving: bool, leader: bool
) -> None:
    assert check(make(serving=serving, leader=leader), "liveness") == "SERVING"


@pytest.mark.parametrize("service", ["inference-extension", "Liveness", "nonsense"])
def test_with_leader_election_other_names_are_unknown(service: str) -> None:
    assert check(make(serving=True, leader=True), service) == "SERVICE_UNKNOWN"


def test_the_list_has_the_names_that_are_asked_for() -> None:
    assert listed(make(serving=True)) == {EXT_PROC: "SERVING"}
    assert listed(make(serving=True, leader=False)) == {
        EXT_PROC: "NOT_SERVING",
        "liveness": "SERVING",
        "readiness": "NOT_SERVING",
    }


def test_the_state_is_asked_for_anew_each_time() -> None:
    states = iter([True, False, True])
    health = Health(lambda: next(states))
    assert [check(health, "") for _ in range(3)] == ["SERVING", "NOT_SERVING", "SERVING"]


@pytest.mark.parametrize(
    ("service", "level", "message"),
    [
        ("readiness", "Level(-2)", "gRPC health check not serving"),
        ("x" * 500, "Level(-2)", "gRPC health check not serving"),
        ("liveness", "Level(-5)", "gRPC health check serving"),
    ],
)
def test_answers_are_logged_with_the_name_that_was_asked_for(
    service: str, level: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    check(make(serving=True, leader=False), service)
    (record,) = caplog.records
    assert f"Level(-{logging.INFO - record.levelno})" == level
    assert record.getMessage() == message
    fields: Any = record.__dict__["fields"]
    assert fields["service"] == service[:128]


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x02\xff\xff"])
def test_garbage_is_refused_without_a_line(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    call = ask(make(serving=True), "Check", data)
    assert (call.status, call.text, call.sent) == (Status.INTERNAL, "unreadable request", [])
    assert not caplog.records


def test_watching_is_not_implemented() -> None:
    call = ask(make(serving=True), "Watch")
    assert (call.status, call.text) == (Status.UNIMPLEMENTED, "Watch is not implemented")


def test_a_call_needs_a_request() -> None:
    call = OneCall()
    make(serving=True).services["/grpc.health.v1.Health/Check"](call).half_closed()
    assert (call.status, call.text) == (Status.INTERNAL, "no request")
