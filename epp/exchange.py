"""One request with its answer: what is remembered from the first byte to the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from epp.core.clock import Clock
from epp.core.decision import Decision
from epp.core.endpoint import Endpoint, join_host_port, split_host_port
from epp.core.probe import Probe, Timer
from epp.core.request import DEFAULT_FAIRNESS_ID, RequestKey
from epp.core.response import (
    Metadata,
    NoUsageReader,
    ResponseEnd,
    ResponseStart,
    Termination,
    UsageReader,
)
from epp.datastore.store import Datastore
from epp.following import Following

DEBUG_HEADER = ("x-went-into-resp-headers", b"true")
MODEL_SERVER_ERROR = "ModelServerError"

UsageReading: TypeAlias = Callable[[bool], UsageReader]

_UNKNOWN = RequestKey()


class Exchange:
    """Follows one request and its answer, and reports to the probe exactly once per event.

    Plain calls in the order of the wire; ``close`` ends it at any moment and may be called twice.
    """

    __slots__ = (
        "_answered_at",
        "_chunk_at",
        "_chunks",
        "_clock",
        "_datastore",
        "_error_code",
        "_first_chunk_at",
        "_following",
        "_gap_passed",
        "_is_closed",
        "_is_routed",
        "_is_running",
        "_is_streaming",
        "_key",
        "_picked",
        "_probe",
        "_reader",
        "_received_at",
        "_response_bytes",
        "_usage_reading",
    )

    def __init__(self, *, clock: Clock, probe: Probe, datastore: Datastore) -> None:
        self._key = _UNKNOWN
        self._picked: tuple[Endpoint, ...] = ()
        self._clock = clock
        self._probe = probe
        self._datastore = datastore
        self._received_at = self._answered_at = self._chunk_at = clock.now()
        self._first_chunk_at: float | None = None
        self._gap_passed: Timer | None = None
        self._error_code = ""
        self._usage_reading: UsageReading = _no_usage
        self._reader: UsageReader | None = None
        self._following: Following | None = None
        self._response_bytes = 0
        self._chunks = 0
        self._is_streaming = False
        self._is_routed = False
        self._is_running = False
        self._is_closed = False

    @property
    def has_body(self) -> bool:
        """Whether any of the answer's body has passed by."""
        return self._response_bytes > 0

    def name_models(
        self,
        incoming: str,
        target: str,
        fairness_id: str = DEFAULT_FAIRNESS_ID,
        priority: int = 0,
    ) -> None:
        """What the client and the rewrite called the model, and whose request it is."""
        self._key = RequestKey(incoming, target, fairness_id, priority)

    def read_usage(self, reading: UsageReading) -> None:
        """How to read the usage in the answer, asked whether that comes in events."""
        self._usage_reading = reading

    def follow(self, following: Following) -> None:
        """Plugins want to hear of the answer; they hear of its end even if there is none."""
        self._following = following

    def routed(self, decision: Decision) -> None:
        """The request is on its way; of the decision only who was picked is kept."""
        self._picked = decision.result.picked
        if decision.body is None:
            return
        self._is_routed = True
        key = self._key
        self._probe.request_routed(
            key, size_bytes=len(decision.body), seconds=self._clock.now() - self._received_at
        )
        if key.model:
            self._is_running = True
            self._probe.running_changed(key, 1)

    def failed(self, code: str, *, model: str = "") -> None:
        """The client gets an error instead of a model server's answer."""
        if not self._is_routed and not self._error_code:
            self._probe.request_refused(self._clock.now() - self._received_at)
        self._error_code = code
        if model and not self._key.model:
            self.name_models(model, model)

    def response_started(self, response: ResponseStart) -> tuple[tuple[str, bytes], ...]:
        """The model server's headers are here; what plugins set in them."""
        headers, served = response.headers, response.served
        status = headers.get(":status") or headers.get("status")
        # Differs: the Go pickers read a header called "status", which no gateway sends, and count
        # every status but 200.
        if status and not status.startswith(b"2"):
            self._error_code = MODEL_SERVER_ERROR
        self._is_streaming = b"text/event-stream" in headers.get("content-type", b"")
        if self._is_routed:  # of anything else nobody counts the tokens
            self._answered_at = self._clock.now()
            self._reader = self._usage_reading(self._is_streaming)
        if served and self._picked and served != self._picked[0].destination:
            self._compare(served)
        return self._following.started(response) if self._following is not None else ()

    def response_chunk(self, chunk: bytes | bytearray) -> None:
        """A piece of the answer passes by; not an empty one."""
        self._response_bytes += len(chunk)
        if self._reader is None:
            return
        self._reader.feed(chunk)
        self._chunks += 1
        if self._following is not None and self._following.chunk is not None:
            self._following.chunk(chunk)
        if self._gap_passed is not None:
            now = self._clock.now()
            self._gap_passed(now - self._chunk_at)
            self._chunk_at = now
        elif self._first_chunk_at is None:
            self._first_chunk_at = self._chunk_at = self._clock.now()
            if self._is_streaming:
                self._gap_passed = self._probe.gap_timer(self._key)

    def response_ended(self) -> tuple[Metadata, ...]:
        """The answer is complete; what plugins tell the proxy of it."""
        reader, self._reader = self._reader, None
        if reader is None:
            return ()
        usage = reader.result()
        now, received_at, first = self._clock.now(), self._received_at, self._first_chunk_at
        # Differs: of a streamed answer upstream sums up how long each chunk was handled; to know
        # that would cost two clock readings for each.
        self._probe.response_complete(
            self._key,
            seconds=now - received_at,
            first_byte_seconds=None if first is None else first - received_at,
            handling_seconds=None if self._is_streaming else now - self._answered_at,
            size_bytes=self._response_bytes,
            is_streaming=self._is_streaming,
            usage=usage,
        )
        following, self._following = self._following, None
        if following is None:
            return ()
        return following.ended(ResponseEnd(Termination.NATURAL, usage, self._chunks))

    def close(self) -> None:
        """The stream is over, however it ended."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._error_code:
            self._probe.request_failed(self._key, self._error_code)
        if self._is_running:
            self._probe.running_changed(self._key, -1)
        reader, self._reader = self._reader, None
        following, self._following = self._following, None
        if following is not None:
            cause = Termination.ERROR if self._error_code else Termination.CLIENT_DISCONNECT
            usage = reader.result() if reader else None
            following.ended(ResponseEnd(cause, usage, self._chunks))

    def _compare(self, served: str) -> None:
        """Whom the proxy had to pass over, when it went to another endpoint of the pool."""
        address, port = split_host_port(served)
        actual = join_host_port(address, port or 0)
        if all(actual != endpoint.destination for endpoint in self._datastore.endpoints()):
            return
        for endpoint in self._picked:
            if endpoint.destination == actual:
                return
            self._datastore.passed_over(endpoint.id)


def _no_usage(_is_streaming: bool) -> UsageReader:
    return NoUsageReader()
