"""One request with its answer: what is remembered from the first byte to the last."""

from __future__ import annotations

from typing import TypeAlias

from epp.core.clock import Clock
from epp.core.decision import Decision
from epp.core.endpoint import join_host_port, split_host_port
from epp.core.errors import EppError
from epp.core.probe import Probe
from epp.core.request import Headers, InferenceRequest, header_text
from epp.datastore.store import Datastore
from epp.usage import EventUsageReader, JsonUsageReader

DEBUG_HEADER = ("x-went-into-resp-headers", b"true")
MODEL_SERVER_ERROR = "ModelServerError"

UsageReader: TypeAlias = JsonUsageReader | EventUsageReader


class Exchange:
    """Follows one request and its answer, and reports to the probe exactly once per event.

    Plain calls in the order of the wire; ``close`` ends it at any moment and may be called twice.
    """

    __slots__ = (
        "_clock",
        "_datastore",
        "_decision",
        "_error_code",
        "_is_closed",
        "_is_running",
        "_is_streaming",
        "_probe",
        "_reader",
        "_received_at",
        "_response_bytes",
        "request",
    )

    def __init__(self, *, clock: Clock, probe: Probe, datastore: Datastore) -> None:
        self.request: InferenceRequest | None = None
        self._clock = clock
        self._probe = probe
        self._datastore = datastore
        self._received_at = clock.now()
        self._decision: Decision | None = None
        self._error_code = ""
        self._reader: UsageReader | None = None
        self._response_bytes = 0
        self._is_streaming = False
        self._is_running = False
        self._is_closed = False

    @property
    def received_at(self) -> float:
        """When the request's first message came, in seconds of the clock."""
        return self._received_at

    def routed(self, decision: Decision) -> None:
        """The answers to the request are on their way to the proxy."""
        self._decision = decision
        request = decision.request
        if decision.body is None:
            return
        self._probe.request_routed(request.incoming_model, request.target_model, len(decision.body))
        if request.incoming_model:
            self._is_running = True
            self._probe.running_changed(request.incoming_model, 1)

    def failed(self, error: EppError) -> None:
        """The client gets an error instead of a model server's answer."""
        self._error_code = error.code

    def response_started(self, headers: Headers, served: str) -> None:
        """The model server's headers are here.

        ``served`` is the endpoint that the proxy says it used, empty where it does not say.
        """
        status = header_text(headers, ":status") or header_text(headers, "status")
        # Differs: the Go pickers read a header called "status", which no gateway sends.
        if status and not status.startswith("2"):
            self._error_code = MODEL_SERVER_ERROR
        self._is_streaming = "text/event-stream" in header_text(headers, "content-type")
        self._reader = EventUsageReader() if self._is_streaming else JsonUsageReader()
        if served and self._decision is not None:
            self._compare(served, self._decision)

    def response_chunk(self, chunk: bytes) -> None:
        """A piece of the answer passes by."""
        self._response_bytes += len(chunk)
        if self._reader is not None:
            self._reader.feed(chunk)

    def response_ended(self) -> None:
        """The answer is complete."""
        reader, self._reader = self._reader, None
        if reader is None or self.request is None:
            return
        self._probe.response_complete(
            self.request.incoming_model,
            self.request.target_model,
            seconds=self._clock.now() - self._received_at,
            size_bytes=self._response_bytes,
            is_streaming=self._is_streaming,
            usage=reader.result(),
        )

    def close(self) -> None:
        """The stream is over, however it ended."""
        if self._is_closed:
            return
        self._is_closed = True
        model = self.request.incoming_model if self.request else ""
        target = self.request.target_model if self.request else ""
        if self._error_code:
            self._probe.request_failed(model, target, self._error_code)
        if self._is_running:
            self._probe.running_changed(model, -1)
        self._reader = None

    def _compare(self, served: str, decision: Decision) -> None:
        """An endpoint that the proxy had to pass over counts as one that nobody answered at."""
        address, port = split_host_port(served)
        actual = join_host_port(address, port or 0)
        for endpoint in decision.result.picked:
            if endpoint.destination == actual:
                return
            self._datastore.connection_failed(endpoint.id)
