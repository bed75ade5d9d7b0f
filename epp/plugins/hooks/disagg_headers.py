"""``disagg-headers-handler``: tell the sidecar where to prefill and to encode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from epp.core.decision import SchedulingResult
from epp.core.plugin import Handle, HeaderChange, Params, PreRequest, Stability, plugin
from epp.core.request import InferenceRequest
from epp.disaggregation import stage_headers


class DisaggHeadersHandlerParams(Params, frozen=True):
    """Whose endpoints the sidecar is told."""

    prefill_profile: Annotated[str, Meta(description="The profile that prefills.")] = "prefill"
    encode_profile: Annotated[str, Meta(description="The profile that encodes.")] = "encode"


@plugin(
    "disagg-headers-handler",
    params=DisaggHeadersHandlerParams,
    aliases=("prefill-header-handler",),
    stability=Stability.BETA,
    deprecated="use disagg-profile-handler, which sets these headers itself",
)
class DisaggHeadersHandler(PreRequest):
    """Set ``x-prefiller-host-port`` and ``x-encoder-hosts-ports``, in place of the client's.

    Source: llm-d-router v0.10, disagg-headers-handler.
    """

    def __init__(self, params: DisaggHeadersHandlerParams, handle: Handle) -> None:
        self._params = params

    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange]:
        return stage_headers(
            request,
            result,
            prefill=self._params.prefill_profile,
            encode=self._params.encode_profile,
        )
