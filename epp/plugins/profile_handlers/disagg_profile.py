"""``disagg-profile-handler``: encode, prefill and decode on different endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

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
from epp.disaggregation import Stages, find_decider

DECODE_FIRST, PREFILL_FIRST = "decode-first", "prefill-first"
_ORDERS = {
    "": DECODE_FIRST,
    "decode": DECODE_FIRST,
    "decodefirst": DECODE_FIRST,
    "prefill": PREFILL_FIRST,
    "prefillfirst": PREFILL_FIRST,
}


class StageProfiles(Params, frozen=True):
    """The profile of each stage; empty means its default."""

    decode: Annotated[str, Meta(description="Picks who decodes.")] = "decode"
    prefill: Annotated[str, Meta(description="Picks who prefills.")] = "prefill"
    encode: Annotated[str, Meta(description="Picks who encodes.")] = "encode"


class StageDeciders(Params, frozen=True):
    """Who decides whether a stage gets an endpoint of its own; without one it does not."""

    prefill: Annotated[PluginName | None, Meta(description="A decider.")] = None
    encode: Annotated[PluginName | None, Meta(description="A decider.")] = None


class DisaggProfileHandlerParams(Params, frozen=True):
    """Stages and deciders: in two groups, or each on its own as in older files."""

    stage_order: Annotated[
        str, Meta(description="decode-first or prefill-first; - and _ and case do not matter.")
    ] = DECODE_FIRST
    profiles: StageProfiles = StageProfiles()
    deciders: StageDeciders = StageDeciders()
    decode_profile: Annotated[str, Meta(description="Older: profiles.decode.")] = ""
    prefill_profile: Annotated[str, Meta(description="Older: profiles.prefill.")] = ""
    encode_profile: Annotated[str, Meta(description="Older: profiles.encode.")] = ""
    prefill_decider_plugin_name: Annotated[
        PluginName | None, Meta(description="Older: deciders.prefill.")
    ] = None
    encode_decider_plugin_name: Annotated[
        PluginName | None, Meta(description="Older: deciders.encode.")
    ] = None
    decider_plugin_name: Annotated[
        PluginName | None, Meta(description="Older still: deciders.prefill.")
    ] = None

    @property
    def order(self) -> str | None:
        """The order in its usual spelling, None where it is none."""
        return _ORDERS.get(self.stage_order.lower().replace("-", "").replace("_", ""))

    @property
    def stage_profiles(self) -> tuple[str, str, str]:
        """Who decodes, prefills and encodes."""
        named, defaults = self.profiles, StageProfiles()
        return (
            self.decode_profile or named.decode or defaults.decode,
            self.prefill_profile or named.prefill or defaults.prefill,
            self.encode_profile or named.encode or defaults.encode,
        )

    @property
    def prefill_decider(self) -> tuple[str, PluginName | None]:
        """Who decides of prefill, after the key that says so."""
        if self.prefill_decider_plugin_name:
            return "prefillDeciderPluginName", self.prefill_decider_plugin_name
        if self.decider_plugin_name:
            return "deciderPluginName", self.decider_plugin_name
        return "deciders.prefill", self.deciders.prefill

    @property
    def encode_decider(self) -> tuple[str, PluginName | None]:
        """Who decides of encode, after the key that says so."""
        if self.encode_decider_plugin_name:
            return "encodeDeciderPluginName", self.encode_decider_plugin_name
        return "deciders.encode", self.deciders.encode

    def problems(self) -> Iterable[tuple[str, str]]:
        if self.order is None:
            yield "stageOrder", f"expected {DECODE_FIRST} or {PREFILL_FIRST}"
        older = [key for key, _use in self._older()]
        if older and (self.profiles != StageProfiles() or self.deciders != StageDeciders()):
            yield older[0], "either profiles and deciders or this older form, not both"
        if self.prefill_decider_plugin_name and self.decider_plugin_name:
            yield "deciderPluginName", "the same as prefillDeciderPluginName; give one of them"
        key, decider = self.prefill_decider
        if decider and self.order == PREFILL_FIRST:
            yield key, f"no prefill decider with {PREFILL_FIRST}: prefill always runs"
        if len(set(self.stage_profiles)) < len(self.stage_profiles):
            yield "profiles", "each stage needs a profile of its own"

    def hints(self) -> Iterable[tuple[str, str]]:
        for key, use in self._older():
            yield key, f"deprecated: use {use}"
        deciders = self.prefill_decider[1], self.encode_decider[1]
        if self.order == DECODE_FIRST and not any(deciders):
            yield "deciders", "without a decider every request is decode-only"

    def _older(self) -> Iterator[tuple[str, str]]:
        """The keys of the older form that are given, and what to use instead."""
        for value, key, use in (
            (self.decode_profile, "decodeProfile", "profiles.decode"),
            (self.prefill_profile, "prefillProfile", "profiles.prefill"),
            (self.encode_profile, "encodeProfile", "profiles.encode"),
            (self.prefill_decider_plugin_name, "prefillDeciderPluginName", "deciders.prefill"),
            (self.encode_decider_plugin_name, "encodeDeciderPluginName", "deciders.encode"),
            (self.decider_plugin_name, "deciderPluginName", "deciders.prefill"),
        ):
            if value:
                yield key, use


@plugin("disagg-profile-handler", params=DisaggProfileHandlerParams, stability=Stability.BETA)
class DisaggProfileHandler(ProfileHandler, PreRequest):
    """Find who decodes, and who prefills and encodes where the deciders want others to.

    The endpoint of decode is the one that the proxy gets. A stage that finds nobody is left to it;
    a request that nobody can decode is refused.

    Differs: of the client's routing headers all four are removed, also those that only other
    plugins set.

    Source: llm-d-router v0.10, profilehandler/disagg.
    """

    def __init__(self, params: DisaggProfileHandlerParams, handle: Handle) -> None:
        decode, prefill, encode = params.stage_profiles
        self._stages = Stages(
            decode=decode,
            prefill=prefill,
            encode=encode,
            prefill_decider=find_decider(handle, *params.prefill_decider),
            encode_decider=find_decider(handle, *params.encode_decider),
            is_prefill_first=params.order == PREFILL_FIRST,
        )
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
        return result

    def pre_request(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> Iterable[HeaderChange]:
        return self._stages.header_changes(request, result)
