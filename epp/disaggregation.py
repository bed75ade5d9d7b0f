"""One request, several endpoints: which stages run, and how the sidecar learns who does what.

A request is encoded (its images and sounds), prefilled (its prompt) and decoded (its answer). The
proxy sends it to the endpoint that decodes; a sidecar there asks the others first, whom it finds in
routing headers. Clients must not be able to send the sidecar anywhere: what they set of these
headers never goes on.

Source: llm-d-router v0.10, profilehandler/disagg and pkg/common/routing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from epp.core.data import PEER_ENDPOINT, DataKey
from epp.core.decision import ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import ParameterError, ResourceExhaustedError
from epp.core.plugin import DisaggregationDecider, Handle, HeaderChange, PluginName
from epp.core.request import InferenceRequest

PREFILL_HEADER = "x-prefiller-host-port"
ENCODE_HEADER = "x-encoder-hosts-ports"
DATA_PARALLEL_HEADER = "x-data-parallel-host-port"
KV_CACHE_SOURCE_HEADER = "x-kv-cache-source-host-port"
ROUTING_HEADERS = (PREFILL_HEADER, ENCODE_HEADER, DATA_PARALLEL_HEADER, KV_CACHE_SOURCE_HEADER)

RANK: DataKey[str] = DataKey("data-parallel-rank")
"""The ``ip:port`` that was picked where the proxy gets another port of the same pod."""

NO_DECODE = "failed to find available decode workers"


class StageSet(StrEnum):
    """Which stages were given an endpoint of their own."""

    DECODE = "decode-only"
    PREFILL_DECODE = "prefill-decode"
    ENCODE_DECODE = "encode-decode"
    ENCODE_PREFILL_DECODE = "encode-prefill-decode"


_STAGE_SETS = {
    (False, False): StageSet.DECODE,
    (False, True): StageSet.PREFILL_DECODE,
    (True, False): StageSet.ENCODE_DECODE,
    (True, True): StageSet.ENCODE_PREFILL_DECODE,
}


class Stages(msgspec.Struct, frozen=True):
    """The profiles of the stages, and who decides of those that need not run.

    Decode comes first and the deciders know its endpoint; with ``is_prefill_first`` prefill always
    runs, before the endpoint that decodes is known. A stage without a decider does not run, nor
    does one whose profile nobody configured.
    """

    decode: str
    prefill: str
    encode: str = ""
    prefill_decider: DisaggregationDecider | None = None
    encode_decider: DisaggregationDecider | None = None
    is_prefill_first: bool = False

    def next(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> Sequence[str]:
        """The profile to run now, or none; the peer of the last one is told before it runs."""
        stage = (self._after_prefill if self.is_prefill_first else self._after_decode)(
            request, profiles, results
        )
        return () if stage is None or stage not in profiles else (stage,)

    def _after_decode(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> str | None:
        if self.decode not in results:
            return self.decode
        endpoint = _first(results, self.decode)
        if endpoint is None or self.prefill in results:
            return None
        if self._encodes(request, profiles, results, endpoint):
            return self.encode
        if (
            self.prefill in profiles
            and self.prefill_decider is not None
            and self.prefill_decider.decide(request, endpoint)
        ):
            request.data.set(PEER_ENDPOINT.of(), endpoint)
            return self.prefill
        return None

    def _after_prefill(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
    ) -> str | None:
        if self.decode in results:
            return None
        if self.prefill in profiles and self.prefill not in results:
            return self.prefill
        if self._encodes(request, profiles, results, None):
            return self.encode
        if endpoint := _first(results, self.prefill):
            request.data.set(PEER_ENDPOINT.of(), endpoint)
        return self.decode

    def _encodes(
        self,
        request: InferenceRequest,
        profiles: Sequence[str],
        results: Mapping[str, ProfileRun | None],
        endpoint: Endpoint | None,
    ) -> bool:
        return (
            self.encode in profiles
            and self.encode not in results
            and self.encode_decider is not None
            and self.encode_decider.decide(request, endpoint)
        )

    def combine(self, results: Mapping[str, ProfileRun | None]) -> SchedulingResult:
        """Decode counts; of the others, which may have found nobody, those that did are kept.

        Raises:
            ResourceExhaustedError: nobody decodes.
        """
        if _first(results, self.decode) is None:
            raise ResourceExhaustedError(NO_DECODE)
        kept = {name: run for name, run in results.items() if _first(results, name)}
        return SchedulingResult(primary=self.decode, profiles=kept)

    def found(self, result: SchedulingResult) -> StageSet:
        """The stages that have an endpoint."""
        return _STAGE_SETS[self.encode in result.profiles, self.prefill in result.profiles]

    def header_changes(
        self, request: InferenceRequest, result: SchedulingResult
    ) -> list[HeaderChange]:
        """What tells the sidecar where to prefill and to encode."""
        return stage_headers(request, result, prefill=self.prefill, encode=self.encode)


def stage_headers(
    request: InferenceRequest, result: SchedulingResult, *, prefill: str, encode: str
) -> list[HeaderChange]:
    """Where these profiles say to prefill and to encode: the first endpoint, and all of them."""
    values: dict[str, bytes] = {}
    if endpoint := _first(result.profiles, prefill):
        values[PREFILL_HEADER] = endpoint.destination.encode()
    if (run := result.profiles.get(encode)) and run.picked:
        values[ENCODE_HEADER] = ",".join([e.destination for e in run.picked]).encode()
    return routing_headers(request, values)


def routing_headers(request: InferenceRequest, values: Mapping[str, bytes]) -> list[HeaderChange]:
    """Set these headers, and that of a rank; remove the other routing headers of the client."""
    if rank := request.data.get(RANK):
        values = {**values, DATA_PARALLEL_HEADER: rank.encode()}
    removed = [name for name in ROUTING_HEADERS if name in request.headers and name not in values]
    return [*[(name, None) for name in removed], *values.items()]


def through_port(
    request: InferenceRequest, result: SchedulingResult, port: int
) -> SchedulingResult:
    """The same decision, its endpoints addressed at another port of theirs.

    A sidecar there forwards to the endpoint that came first, which ``routing_headers`` tells it.
    """
    run = result.profiles[result.primary]
    assert run is not None  # whoever combines has seen to that
    request.data.set(RANK, run.picked[0].destination)
    picked = tuple([msgspec.structs.replace(endpoint, port=port) for endpoint in run.picked])
    moved = msgspec.structs.replace(run, picked=picked)
    return SchedulingResult(result.primary, {**result.profiles, result.primary: moved})


def find_decider(handle: Handle, key: str, name: PluginName | None) -> DisaggregationDecider | None:
    """The decider that a parameter names, None where it names none.

    Raises:
        ParameterError: there is no plugin of this name, or it decides nothing.
    """
    if not name:
        return None
    found = handle.plugins.get(name)
    if found is None:
        raise ParameterError(key, f"no plugin is called {name!r}")
    if not isinstance(found, DisaggregationDecider):
        raise ParameterError(key, f"{found!r} is no decider")
    return found


def _first(results: Mapping[str, ProfileRun | None], profile: str) -> Endpoint | None:
    run = results.get(profile)
    return run.picked[0] if run is not None and run.picked else None
