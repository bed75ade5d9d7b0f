"""``data-parallel-profile-handler``: reach the ranks of a pod through its primary port."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.errors import ResourceExhaustedError
from epp.core.plugin import (
    Handle,
    HeaderChange,
    Params,
    PreRequest,
    ProfileHandler,
    Stability,
    plugin,
)
from epp.core.request import InferenceRequest
from epp.disaggregation import routing_headers, through_port


class DataParallelProfileHandlerParams(Params, frozen=True):
    """Where the sidecar listens."""

    primary_port: Annotated[
        int, Meta(ge=1, le=65535, description="The port that the proxy can reach.")
    ] = 8000


@plugin(
    "data-parallel-profile-handler",
    params=DataParallelProfileHandlerParams,
    stability=Stability.BETA,
)
class DataParallelProfileHandler(ProfileHandler, PreRequest):
    """Run the only profile; its endpoints are addressed at ``primaryPort``.

    A sidecar there forwards to the rank that was picked, whose ``ip:port`` is in the header
    ``x-data-parallel-host-port``. For proxies that cannot address several ports of a pod.

    Source: llm-d-router v0.10, profilehandler/dataparallel.
    """

    def __init__(self, params: DataParallelProfileHandlerParams, handle: Handle) -> None:
        self._port = params.primary_port

    def select(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        return () if results else profiles

    def combine(
        self, request: InferenceRequest, results: Mapping[str, ProfileRun | None]
    ) -> SchedulingResult:
        if len(results) != 1:
            raise ResourceExhaustedError(
                "failed to find target pod: data parallel profile handler is intended to be used "
                "with a single profile, failed to process multiple profiles"
            )
        (name, run), *_ = results.items()
        if run is None or not run.picked:
            raise ResourceExhaustedError(
                f"failed to find target pod: failed to run scheduler profile '{name}'"
            )
        return through_port(request, SchedulingResult(name, results), self._port)

    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange]:
        return routing_headers(request, {})
