"""The plugins around a decision, in the order of their calls.

A plugin that raises has no say and costs the request nothing else; an ``EppError`` of one that may
refuse goes to the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from epp.core.call import PluginCall, calls, ids_among, in_role, run
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
            run(call, call.plugin.process_headers, headers, data)

    def is_saturated(self, endpoints: Sequence[Endpoint], data: CycleData) -> bool:
        """Whether requests that may be shed are; a detector that fails says no."""
        saturation = run(self._saturation, self._saturation.plugin.saturation, endpoints, data)
        return saturation is not None and saturation >= 1.0

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
        left = endpoints
        for call in self._screeners:
            kept = run(call, _screened, call.plugin, request, endpoints)
            if kept is not None:
                left = [endpoint for endpoint in left if endpoint.id in kept]
        if not left:
            raise ServiceUnavailableError(NO_SCREEN_LEFT)
        return left

    async def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        """Let producers make their data; what one cannot make is absent.

        Differs: upstream runs no further producer once one has failed.
        """
        for call in self._producers:
            pending = run(call, call.plugin.produce, request, endpoints)
            if pending is not None:
                await _wait(call, pending)

    def admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        """Ask the admitters.

        Raises:
            EppError: one of them refuses the request.
        """
        for call in self._admitters:
            run(call, call.plugin.admit, request, endpoints)

    def tell(self, request: InferenceRequest, result: SchedulingResult) -> Sequence[HeaderChange]:
        """Tell who wants to know of the decision; the changes that they make in the headers."""
        changes: list[HeaderChange] = []
        for call in self._pre_request:
            changes += run(call, call.plugin.pre_request, request, result) or ()
        return changes


def _screened(
    screener: Screener, request: InferenceRequest, endpoints: Sequence[Endpoint]
) -> set[str]:
    return ids_among(screener.screen(request, endpoints), endpoints)


async def _wait(call: PluginCall[DataProducer], pending: Awaitable[None]) -> None:
    await asyncio.sleep(0)  # only then is there a task, which a timeout needs
    try:
        async with asyncio.timeout(call.plugin.time_limit_seconds):
            await pending
    except EppError:
        raise
    except Exception as error:
        call.failed(error)
