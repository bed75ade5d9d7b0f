from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from epp.extproc.counted import counted
from epp.rpc import Call, Handler, Message, Parts, Status
from tests.fakes import FakeClock


class Counter:
    def __init__(self) -> None:
        self.told: list[object] = []

    def opened(self) -> None:
        self.told.append("opened")

    def ended(self, status: int, seconds: float) -> None:
        self.told.append((status, seconds))


class Wire:
    """A call's other side."""

    metadata: Mapping[bytes, bytes] = {b"k": b"v"}

    def __init__(self) -> None:
        self.told: list[object] = []

    def send(self, message: Message) -> None:
        self.told.append(message)

    def send_parts(self, parts: Parts) -> None:
        self.told.append(parts)

    def finish(
        self,
        status: int = Status.OK,
        text: str = "",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.told.append((status, text, trailers))


class Echo:
    """Sends back what comes, and ends when the client has."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.is_over = False

    def message(self, data: Message) -> None:
        assert self._call.metadata == {b"k": b"v"}
        self._call.send(data)
        self._call.send_parts([b"a", b"b"])

    def half_closed(self) -> None:
        self._call.finish(Status.ABORTED, "enough", [(b"x", b"y")])

    def ended(self) -> None:
        self.is_over = True


@pytest.mark.parametrize(("finishes", "status"), [(True, 10), (False, 1)])
def test_a_call_is_counted_and_otherwise_as_it_was(finishes: bool, status: int) -> None:
    clock, counter, wire = FakeClock(), Counter(), Wire()
    echoes: list[Echo] = []

    def service(call: Call) -> Handler:
        echoes.append(Echo(call))
        return echoes[-1]

    handler = counted({"/s/m": service}, counter, clock)["/s/m"](wire)
    assert counter.told == ["opened"]
    handler.message(b"hello")
    if finishes:
        handler.half_closed()
    clock.advance(2.5)
    handler.ended()
    assert counter.told == ["opened", (status, 2.5)]
    assert echoes[0].is_over
    ending = [(Status.ABORTED, "enough", [(b"x", b"y")])] if finishes else []
    assert wire.told == [b"hello", [b"a", b"b"], *ending]
