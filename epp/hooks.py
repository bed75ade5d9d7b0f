"""The plugins around a decision, in the order of their calls.

A plugin that raises has no say and costs the request nothing else; an ``EppError`` of one that may
refuse goes to the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

from epp.core.call import PluginCall, ask, calls, check_header, in_role, kept_and_removed, run
from epp.core.data import CycleData, DataKey
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import EppError, ServiceUnavailableError
from epp.core.plugin import (
    Admitter,
    DataProducer,
    HeaderChange,
    HeaderProcessor,
    Plugin,
    PreRequest,
    SaturationDetector,
    Screener,
)
from epp.core.probe import Probe
from epp.core.request import Headers, InferenceRequest

NO_SCREEN_LEFT = "screeners eliminated all endpoint candidates"


class RequestHooks:
    """What happens to a request besides parsing and scheduling.

    ``producers`` come in the order in which they need each other's data.

    Source: llm-d-router v0.10, pkg/epp/requestcontrol/director.go.
    """

    def __init__(
        self,
        plugins: Sequence[Plugin],
        producers: Sequence[DataProducer],
        saturation: SaturationDetector,
        probe: Probe,
    ) -> None:
        self._headers = calls(in_role(HeaderProcessor, plugins), "RequestHeader", probe)
        self._screeners = calls(in_role(Screener, plugins), "Screener", probe)
        self._producers = calls(producers, "DataProducer", probe)
        self._admitters = calls(in_role(Admitter, plugins), "Admission", probe)
        self._pre_request = calls(in_role(PreRequest, plugins), "PreRequest", probe)
        self._saturation = PluginCall(saturation, "Saturation", probe)
        self._standing: dict[DataKey[Any], object] = {}
        for producer in producers:
            self._standing |= producer.standing

    def open_data(self) -> CycleData:
        """What a request starts with."""
        return CycleData(self._standing)

    def process_headers(self, headers: Headers, data: CycleData) -> None:
        """Let plugins read the headers.

        Raises:
            EppError: one of them refuses the request.
        """
        for call in self._headers:
            ask(call, call.plugin.process_headers, headers, data)

    def is_saturated(self, endpoints: Sequence[Endpoint], data: CycleData) -> bool:
        """Whether requests that may be shed are; a detector that fails says no."""
        return bool(run(self._saturation, self._is_full, endpoints, data))

    def screen(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        """The endpoints that every screener leaves.

        Raises:
            ServiceUnavailableError: none.
            EppError: a screener refuses the request.
        """
        if not self._screeners:
            return endpoints
        everyone = tuple(endpoints)
        gone: set[str] = set()
        for call in self._screeners:
            removed = ask(call, _screened, call.plugin, request, everyone)
            if removed:
                gone.update([endpoint.id for endpoint in removed])
        left = [endpoint for endpoint in everyone if endpoint.id not in gone]
        if not left:
            raise ServiceUnavailableError(NO_SCREEN_LEFT)
        return left

    def produce(
        self, request: InferenceRequest, endpoints: Sequence[Endpoint]
    ) -> Awaitable[None] | None:
        """Let producers make their data; what one cannot make is absent.

        Returns what is to be awaited, None where none of them has to wait.

        Differs: upstream runs no further producer once one has failed.
        """
        return self._produce(iter(self._producers), request, endpoints)

    def _produce(
        self,
        producers: Iterator[PluginCall[DataProducer]],
        request: InferenceRequest,
        endpoints: Sequence[Endpoint],
    ) -> Awaitable[None] | None:
        for call in producers:
            pending = run(call, call.plugin.produce, request, endpoints)
            if pending is not None:
                return self._wait_and_go_on(call, pending, producers, request, endpoints)
        return None

    async def _wait_and_go_on(
        self,
        call: PluginCall[DataProducer],
        pending: Awaitable[None],
        producers: Iterator[PluginCall[DataProducer]],
        request: InferenceRequest,
        endpoints: Sequence[Endpoint],
    ) -> None:
        await _wait(call, pending)
        waiting = self._produce(producers, request, endpoints)
        if waiting is not None:
            await waiting

    def admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        """Ask the admitters.

        Raises:
            EppError: one of them refuses the request.
        """
        for call in self._admitters:
            ask(call, call.plugin.admit, request, endpoints)

    def tell(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Mapping[str, bytes | None]:
        """Tell who wants to know of the decision; the changes that they make in the headers.

        Of several changes of a header the last one counts.

        Raises:
            EppError: one of them refuses the request, after all were told.
        """
        changes: dict[str, bytes | None] = {}
        refusal: EppError | None = None
        for call in self._pre_request:
            if call.is_aside:
                continue
            started = perf_counter()
            try:
                made = call.plugin.pre_request(request, result)
                if made:
                    changes |= _checked(made)
            except EppError as error:
                refusal = refusal or error
            except Exception as error:
                call.failed(error)
                continue
            call.ran(perf_counter() - started)
        if refusal is not None:
            raise refusal
        return changes

    def _is_full(self, endpoints: Sequence[Endpoint], data: CycleData) -> bool:
        return self._saturation.plugin.saturation(endpoints, data) >= 1.0


def _screened(
    screener: Screener, request: InferenceRequest, endpoints: tuple[Endpoint, ...]
) -> tuple[Endpoint, ...]:
    return kept_and_removed(screener.screen(request, endpoints), endpoints)[1]


def _checked(made: Iterable[HeaderChange]) -> dict[str, bytes | None]:
    changes = dict(made)
    for name, value in changes.items():
        check_header(name, b"" if value is None else value)
    return changes


async def _wait(call: PluginCall[DataProducer], pending: Awaitable[None]) -> None:
    try:
        await asyncio.sleep(0)  # only then is there a task, which a timeout needs
    except BaseException:
        if isinstance(pending, Coroutine):
            pending.close()
        raise
    try:
        async with asyncio.timeout(call.plugin.time_limit_seconds):
            await pending
    except Exception as error:
        call.failed(error)
    # One that swallows the end of the request must not make it go on.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
