"""``inflight-load-producer``: what this picker has under way at each endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import IN_FLIGHT_LOAD, PREFIX_MATCH, TOKENIZED_PROMPT, DataKey, InFlightLoad
from epp.core.decision import SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.plugin import (
    DataProducer,
    EndpointListener,
    Handle,
    Params,
    PreRequest,
    ResponseObserver,
    Stability,
    plugin,
)
from epp.core.probe import LoadGauge
from epp.core.request import InferenceRequest
from epp.core.response import Metadata, ResponseEnd

PREFILL_PROFILE = "prefill"


class InflightLoadParams(Params, frozen=True):
    """What a request weighs."""

    add_estimated_output_tokens: Annotated[
        bool, Meta(description="Count the answer too, and hold the tokens until it has ended.")
    ] = False
    output_ratio: Annotated[
        float, Meta(ge=0, description="Expected output tokens per input token.")
    ] = 1.5
    max_estimated_output_tokens: Annotated[
        int | None, Meta(description="No answer is expected to be longer.")
    ] = None
    prefix_match_info_producer_name: Annotated[
        str, Meta(description="Producer of the prefix matches; empty is the approximate one.")
    ] = ""
    sync_cross_replica_state: Annotated[
        bool, Meta(description="Has no effect: replicas do not tell each other.")
    ] = True

    def problems(self) -> Iterable[tuple[str, str]]:
        limit = self.max_estimated_output_tokens
        if limit is not None and limit < 0:
            yield "maxEstimatedOutputTokens", "must not be negative"


@plugin("inflight-load-producer", params=InflightLoadParams, stability=Stability.BETA)
class InflightLoadProducer(DataProducer, PreRequest, ResponseObserver, EndpointListener):
    """Count requests and tokens from the decision to the end of the answer.

    A request counts at the first endpoint of every profile, with the tokens of its prompt that this
    one has not seen: max(0, indexed - matched) + max(0, input - indexed). With its first chunk a
    profile called ``prefill`` is done; the other ones then give back their tokens, unless those of
    the answer are among them, and at its end whatever they have left.

    Source: llm-d-router v0.10, requestcontrol/dataproducer/inflightload.
    """

    def __init__(self, params: InflightLoadParams, handle: Handle) -> None:
        self._counts_output = params.add_estimated_output_tokens
        self._output_ratio = params.output_ratio
        self._max_output = params.max_estimated_output_tokens
        self._probe = handle.probe
        self._requests: dict[str, int] = {}
        self._tokens: dict[str, int] = {}
        self._stays: dict[str, _Stay] = {}
        self._prompt = TOKENIZED_PROMPT.of()
        self._match = PREFIX_MATCH.of(params.prefix_match_info_producer_name)
        self._key: DataKey[list[_Share]] = DataKey("inflight-load-producer")

    @property
    def consumes(self) -> Sequence[DataKey[Any]]:
        return [self._prompt]

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        return [self._match]

    @property
    def produces(self) -> Sequence[DataKey[Any]]:
        return [IN_FLIGHT_LOAD.of(self.name)]

    @property
    def standing(self) -> Mapping[DataKey[Any], object]:
        return {IN_FLIGHT_LOAD.of(self.name): InFlightLoad(self._requests, self._tokens)}

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        load = InFlightLoad(self._requests, self._tokens, self._weights(request, endpoints))
        request.data.set(IN_FLIGHT_LOAD.of(self.name), load)

    def pre_request(self, request: InferenceRequest, result: SchedulingResult) -> None:
        shares: list[_Share] = []
        runs = {name: run.picked[0] for name, run in result.profiles.items() if run and run.picked}
        weights = self._weights(request, list(runs.values()))
        for profile, endpoint in runs.items():
            gauge = self._probe.load_gauge(
                self.name, endpoint, request.fairness_id, request.priority
            )
            stay = self._stays.get(endpoint.id)
            if stay is None:
                stay = self._stays[endpoint.id] = _Stay(endpoint.id)
            share = _Share(stay, profile, gauge)
            self._change(share, 1, weights[endpoint.id])
            shares.append(share)
        request.data.keep(self._key, shares)

    def response_chunk(
        self, request: InferenceRequest, result: SchedulingResult, chunk: bytes | bytearray
    ) -> None:
        for share in request.data.get(self._key) or ():
            if share.profile == PREFILL_PROFILE:
                self._change(share, -share.requests, -share.tokens)
            elif not self._counts_output:
                self._change(share, 0, -share.tokens)

    def response_ended(
        self, request: InferenceRequest, result: SchedulingResult, end: ResponseEnd
    ) -> Iterable[Metadata]:
        for share in request.data.get(self._key) or ():
            self._change(share, -share.requests, -share.tokens)
        return ()

    def endpoint_removed(self, endpoint_id: str) -> None:
        self._requests.pop(endpoint_id, None)
        self._tokens.pop(endpoint_id, None)
        stay = self._stays.pop(endpoint_id, None)
        if stay is not None:
            stay.is_over = True

    def describe(self) -> Mapping[str, object]:
        return {"requests": dict(self._requests), "tokens": dict(self._tokens)}

    def _weights(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> dict[str, int]:
        """The tokens that the request adds at each endpoint."""
        prompt = request.data.get(self._prompt)
        tokens = prompt.token_count if prompt is not None else 0
        output = self._output(tokens, request) if self._counts_output else 0
        match = request.data.get(self._match)
        ids = [endpoint.id for endpoint in endpoints]
        if match is None:
            return dict.fromkeys(ids, tokens + output)
        indexed, size = match.total_blocks * match.block_tokens, match.block_tokens
        rest = max(0, tokens - indexed) + output
        weights = dict.fromkeys(ids, indexed + rest)
        for endpoint_id, blocks in match.matched_blocks.items():
            if endpoint_id in weights:
                weights[endpoint_id] = max(0, indexed - blocks * size) + rest
        return weights

    def _output(self, tokens: int, request: InferenceRequest) -> int:
        """How long the answer will be, as far as one can guess."""
        if tokens <= 0:
            return 0
        guess = int(tokens * self._output_ratio + 0.5)
        client = request.body.max_tokens if request.body is not None else None
        limits = [limit for limit in (client, self._max_output) if limit is not None]
        return max(0, min([guess, *limits]))

    def _change(self, share: _Share, requests: int, tokens: int) -> None:
        """Count what a request has more, or less, at an endpoint; nothing goes below zero."""
        share.requests += requests
        share.tokens += tokens
        stay = share.stay
        if stay.is_over or not (requests or tokens):
            return
        of = stay.endpoint_id
        self._requests[of] = max(0, self._requests.get(of, 0) + requests)
        self._tokens[of] = max(0, self._tokens.get(of, 0) + tokens)
        share.gauge(requests, tokens)


class _Stay:
    """One time that an endpoint is in the pool: if it comes back, it starts from zero."""

    __slots__ = ("endpoint_id", "is_over")

    def __init__(self, endpoint_id: str) -> None:
        self.endpoint_id = endpoint_id
        self.is_over = False


class _Share:
    """What one request has under way for one profile."""

    __slots__ = ("gauge", "profile", "requests", "stay", "tokens")

    def __init__(self, stay: _Stay, profile: str, gauge: LoadGauge) -> None:
        self.stay = stay
        self.profile = profile
        self.gauge = gauge
        self.requests = 0
        self.tokens = 0
