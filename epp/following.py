"""The plugins that follow answers, in the order of their calls.

One that raises costs nobody anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from epp.core.call import calls, check_header, in_role, run
from epp.core.decision import SchedulingResult
from epp.core.plugin import Plugin, ResponseHeaderProcessor, ResponseObserver
from epp.core.probe import Probe
from epp.core.request import InferenceRequest
from epp.core.response import Metadata, ResponseEnd, ResponseStart

ChunkReceiver: TypeAlias = Callable[[bytes | bytearray], None]


class ResponseHooks:
    """The plugins that follow answers; false when there are none."""

    def __init__(self, plugins: Sequence[Plugin], probe: Probe) -> None:
        observers = in_role(ResponseObserver, plugins)
        self.headers = calls(in_role(ResponseHeaderProcessor, plugins), "ResponseReceived", probe)
        self.first = calls(observers, "ResponseStreaming", probe)
        self.every = tuple([call for call in self.first if call.plugin.sees_every_chunk])
        self.ends = calls(observers, "ResponseComplete", probe)

    def __bool__(self) -> bool:
        return bool(self.headers or self.ends)


class Following:
    """One answer and the plugins that follow it.

    ``chunk`` is to be called with the next piece of the answer, None when nobody wants it.
    """

    __slots__ = ("_hooks", "_request", "_result", "chunk")

    def __init__(
        self, hooks: ResponseHooks, request: InferenceRequest, result: SchedulingResult
    ) -> None:
        self._hooks = hooks
        self._request = msgspec.structs.replace(request, body=None, data=request.data.lasting())
        self._result = result
        self.chunk: ChunkReceiver | None = self._first_chunk if hooks.first else None

    def started(self, response: ResponseStart) -> tuple[tuple[str, bytes], ...]:
        """The headers that the answer gets."""
        headers: list[tuple[str, bytes]] = []
        for call in self._hooks.headers:
            headers += run(call, _headers, call.plugin, self._request, self._result, response) or ()
        return tuple(headers)

    def ended(self, end: ResponseEnd) -> tuple[Metadata, ...]:
        """The answer is over; what the proxy is told of it."""
        self.chunk = None
        metadata: list[Metadata] = []
        for call in self._hooks.ends:
            metadata += run(call, _metadata, call.plugin, self._request, self._result, end) or ()
        return tuple(metadata)

    def _first_chunk(self, chunk: bytes | bytearray) -> None:
        self.chunk = self._next_chunk if self._hooks.every else None
        for call in self._hooks.first:
            run(call, call.plugin.response_chunk, self._request, self._result, chunk)

    def _next_chunk(self, chunk: bytes | bytearray) -> None:
        for call in self._hooks.every:
            run(call, call.plugin.response_chunk, self._request, self._result, chunk)


def _headers(
    plugin: ResponseHeaderProcessor,
    request: InferenceRequest,
    result: SchedulingResult,
    response: ResponseStart,
) -> list[tuple[str, bytes]]:
    headers = [(name, value) for name, value in plugin.response_headers(request, result, response)]
    for name, value in headers:
        check_header(name, value)
    return headers


def _metadata(
    plugin: ResponseObserver, request: InferenceRequest, result: SchedulingResult, end: ResponseEnd
) -> Sequence[Metadata]:
    told = plugin.response_ended(request, result, end)
    return [_number(*number) for number in told] if told else ()


def _number(namespace: str, name: str, value: float) -> Metadata:
    if not isinstance(namespace, str) or not isinstance(name, str):
        raise TypeError(f"not the name of a number: {namespace!r}, {name!r}")
    return Metadata(namespace, name, float(value))
