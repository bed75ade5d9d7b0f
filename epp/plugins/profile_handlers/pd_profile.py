"""``pd-profile-handler``: prefill and decode on different endpoints, as older files say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, field

from epp.core.data import PEER_ENDPOINT, DataKey
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.plugin import (
    Handle,
    HeaderChange,
    Params,
    PluginName,
    PreRequest,
    ProfileHandler,
    Stability,
    plugin,
)
from epp.core.request import InferenceRequest
from epp.disaggregation import Stages, find_decider, through_port


class PdProfileHandlerParams(Params, frozen=True):
    """The two stages, and who decides of prefill."""

    decode_profile: Annotated[str, Meta(min_length=1, description="Picks who decodes.")] = "decode"
    prefill_profile: Annotated[str, Meta(min_length=1, description="Picks who prefills.")] = (
        "prefill"
    )
    primary_port: Annotated[
        int, Meta(ge=0, le=65535, description="The port that the proxy can reach; 0: any.")
    ] = 0
    # By a factory: a JSON Schema can show no default of this type.
    decider_plugin_name: Annotated[PluginName, Meta(description="Who decides of prefill.")] = field(
        default_factory=lambda: PluginName("prefix-based-pd-decider")
    )
    prefix_match_info_producer_name: Annotated[str, Meta(description="Has no effect.")] = ""
    prefix_plugin_type: Annotated[str, Meta(description="Has no effect.")] = ""
    prefix_plugin_name: Annotated[str, Meta(description="Has no effect.")] = ""

    def problems(self) -> Iterable[tuple[str, str]]:
        if self.decode_profile == self.prefill_profile:
            yield "prefillProfile", "each stage needs a profile of its own"

    def hints(self) -> Iterable[tuple[str, str]]:
        if self.prefix_match_info_producer_name:
            yield (
                "prefixMatchInfoProducerName",
                "has no effect here: the decider has this parameter",
            )
        if self.prefix_plugin_type:
            yield "prefixPluginType", "has no effect"
        if self.prefix_plugin_name:
            yield "prefixPluginName", "has no effect"


@plugin(
    "pd-profile-handler",
    params=PdProfileHandlerParams,
    stability=Stability.BETA,
    deprecated="use disagg-profile-handler",
)
class PdProfileHandler(ProfileHandler, PreRequest):
    """Find who decodes, and who prefills where the decider wants another to.

    With ``primaryPort`` the endpoints of decode are addressed there, and the one that was picked is
    in the header ``x-data-parallel-host-port``.

    Differs: it sets ``x-prefiller-host-port`` itself, with or without ``prefill-header-handler``.

    Source: llm-d-router v0.10, profilehandler/disagg.
    """

    def __init__(self, params: PdProfileHandlerParams, handle: Handle) -> None:
        self._stages = Stages(
            decode=params.decode_profile,
            prefill=params.prefill_profile,
            prefill_decider=find_decider(handle, "deciderPluginName", params.decider_plugin_name),
        )
        self._port = params.primary_port
        self._probe = handle.probe

    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return (PEER_ENDPOINT.of(),)

    def select(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        return self._stages.next(request, profiles, results)

    def combine(
        self, request: InferenceRequest, results: Mapping[str, ProfileRun | None]
    ) -> SchedulingResult:
        result = self._stages.combine(results)
        found = self._stages.found(result)
        self._probe.disaggregated(self.type, self.name, request.target_model, found)
        return through_port(request, result, self._port) if self._port else result

    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange]:
        return self._stages.header_changes(request, result)
