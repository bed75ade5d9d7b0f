"""The life of a request, in order.

``Director.decide`` is the whole way of a request; each line is one step. What happens to the answer
is in ``exchange.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from random import Random

from epp.conditional import check_cached
from epp.core.data import AGENT_IDENTITY, CycleData
from epp.core.decision import Decision, ProfileRun, SchedulingResult
from epp.core.endpoint import Endpoint
from epp.core.errors import (
    BadRequestError,
    ResourceExhaustedError,
    ServiceUnavailableError,
)
from epp.core.parser import Parser
from epp.core.probe import Probe
from epp.core.request import (
    DEFAULT_FAIRNESS_ID,
    Headers,
    IncomingRequest,
    InferenceRequest,
    RequestBody,
    header_text,
)
from epp.datastore.store import Datastore
from epp.disaggregation import ROUTING_HEADERS
from epp.exchange import Exchange
from epp.following import Following, ResponseHooks
from epp.hooks import RequestHooks
from epp.parsing import ParserChoice
from epp.scheduling.scheduler import Scheduler

DESTINATION_HEADER = "x-gateway-destination-endpoint"
REQUEST_ID_HEADER = "x-request-id"
CONTENT_LENGTH_HEADER = "content-length"
# The router's name wins over the older one whenever it is present, even when it is empty.
FAIRNESS_HEADERS = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
OBJECTIVE_HEADERS = ("x-llm-d-inference-objective", "x-gateway-inference-objective")
REWRITE_HEADERS = ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite")


_AGENT = AGENT_IDENTITY.of()

NO_CANDIDATES = "failed to find candidate pods for serving the request"


class Director:
    """Turns a request into a decision.

    Source: gateway-api-inference-extension 2aaf2a6, pkg/epp/requestcontrol/director.go.
    """

    def __init__(
        self,
        *,
        parsing: ParserChoice,
        scheduler: Scheduler,
        datastore: Datastore,
        hooks: RequestHooks,
        responses: ResponseHooks,
        probe: Probe,
        random: Random,
        honour_subset: bool = True,
        emit_scores: bool = False,
    ) -> None:
        self._parsing = parsing
        self._scheduler = scheduler
        self._datastore = datastore
        self._hooks = hooks
        self._responses = responses
        self._probe = probe
        self._random = random
        self._honour_subset = honour_subset
        self._emit_scores = emit_scores

    async def decide(self, exchange: Exchange, incoming: IncomingRequest) -> Decision:
        """Where the request goes; waits only where admission has to wait.

        Raises:
            EppError: the client gets its status and text.
        """
        if incoming.body is None:
            return self._route_unread(incoming)
        data = self._hooks.open_data()
        self._hooks.process_headers(incoming.headers, data)
        parser = self._parsing.choose(incoming.headers)
        body = parser.parse(incoming.headers, incoming.body)
        request = self._apply_policies(incoming, body, data)
        exchange.name_models(
            request.incoming_model, request.target_model, request.fairness_id, request.priority
        )
        if body.follows_answer:
            exchange.read_usage(parser.usage_reader)
        endpoints = self._candidates(incoming)
        await self._admit(request, endpoints)
        endpoints = self._hooks.screen(request, endpoints)
        if (producing := self._hooks.produce(request, endpoints)) is not None:
            await producing
            endpoints = self._still_there(incoming, endpoints)
        self._hooks.admit(request, endpoints)
        result = self._scheduler.schedule(request, endpoints)
        check_cached(request, result)
        outgoing = _outgoing_body(parser, request, incoming.body)
        changes = self._tell(exchange, request, result)
        return self._decision(request, result, outgoing, changes)

    def _apply_policies(
        self, incoming: IncomingRequest, body: RequestBody, data: CycleData
    ) -> InferenceRequest:
        """The model's target name, the priority of the objective, the fairness id."""
        headers = incoming.headers
        return InferenceRequest(
            request_id=_request_id(headers),
            headers=headers,
            body=body,
            incoming_model=body.model or "",
            target_model=(
                self._target_model(headers, body.model)
                if body.takes_model
                else _first(headers, REWRITE_HEADERS) or body.model or ""
            ),
            priority=self._datastore.priority(_first(headers, OBJECTIVE_HEADERS)),
            fairness_id=(
                _first(headers, FAIRNESS_HEADERS) or data.get(_AGENT) or DEFAULT_FAIRNESS_ID
            ),
            size_bytes=len(incoming.body or b""),
            data=data,
        )

    def _target_model(self, headers: Headers, model: str | None) -> str:
        """What a rule says, else the header, else the client.

        Source: llm-d-router v0.10, pkg/epp/requestcontrol.
        """
        if chosen := self._datastore.rewrites.choose(model or "", self._random):
            name, target = chosen
            self._probe.model_rewritten(name, model or "", target)
            return target
        if named := _first(headers, REWRITE_HEADERS):
            return named
        if model is None:
            raise BadRequestError("model not found in request body")
        return model

    def _candidates(self, incoming: IncomingRequest) -> Sequence[Endpoint]:
        subset = incoming.subset if self._honour_subset else None
        endpoints = self._datastore.candidates(subset)
        if not endpoints:
            raise ServiceUnavailableError(NO_CANDIDATES)
        return endpoints

    def _still_there(
        self, incoming: IncomingRequest, endpoints: Sequence[Endpoint]
    ) -> Sequence[Endpoint]:
        """After a wait: those that did not leave, as they are now.

        Who learned of one that is gone would never hear that it left.
        """
        now = {endpoint.id: endpoint for endpoint in self._candidates(incoming)}
        left = [now[endpoint.id] for endpoint in endpoints if endpoint.id in now]
        if not left:
            raise ServiceUnavailableError(NO_CANDIDATES)
        return left

    async def _admit(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        if request.is_sheddable and self._hooks.is_saturated(endpoints, request.data):
            raise ResourceExhaustedError("system saturated, sheddable request dropped")

    def _tell(
        self, exchange: Exchange, request: InferenceRequest, result: SchedulingResult
    ) -> Mapping[str, bytes | None]:
        """From here on plugins count on hearing of the answer's end, whatever happens."""
        try:
            return self._hooks.tell(request, result)
        finally:  # not before: what they keep now is what they will see then
            if self._responses:
                exchange.follow(Following(self._responses, request, result))

    def _decision(
        self,
        request: InferenceRequest,
        result: SchedulingResult,
        body: bytes | None,
        changes: Mapping[str, bytes | None],
    ) -> Decision:
        headers = request.headers
        destination = ",".join([endpoint.destination for endpoint in result.picked])
        set_headers = [(DESTINATION_HEADER, destination.encode())]
        if body is not None and len(body) != request.size_bytes:
            set_headers.append((CONTENT_LENGTH_HEADER, str(len(body)).encode()))
        if not headers.get(REQUEST_ID_HEADER):
            set_headers.append((REQUEST_ID_HEADER, request.request_id.encode()))
        # Clients must not be able to send a sidecar anywhere.
        removed = [name for name in ROUTING_HEADERS if name in headers and name not in changes]
        for name, value in changes.items():
            if value is None:
                removed.append(name)
            else:
                set_headers.append((name, value))
        decision = Decision(
            request=request,
            result=result,
            destination=destination,
            set_headers=tuple(set_headers),
            body=body,
            scores=_scores(result) if self._emit_scores else (),
            remove_headers=tuple(removed),
        )
        self._probe.decided(decision)
        return decision

    def _route_unread(self, incoming: IncomingRequest) -> Decision:
        """A request without a body goes to any endpoint; nothing in it could be scored.

        Differs: the subset is honoured, and an empty pool is 503 as for a request with a body.
        """
        endpoints = tuple(self._candidates(incoming))
        request = InferenceRequest(
            request_id=_request_id(incoming.headers), headers=incoming.headers, body=None
        )
        run = ProfileRun(
            profile="without-body",
            candidates=endpoints,
            filters=(),
            scored=endpoints,
            scorers=(),
            totals=(0.0,) * len(endpoints),
            picker="random",
            picked=(self._random.choice(endpoints),),
        )
        result = SchedulingResult(primary=run.profile, profiles={run.profile: run})
        return self._decision(request, result, None, {})


def _outgoing_body(parser: Parser, request: InferenceRequest, body: bytes) -> bytes:
    """The client's body, with another model's name in it where it was rewritten."""
    read = request.body
    if read is not None and (not read.takes_model or request.target_model == read.model):
        return body
    return parser.rename_model(body, request.target_model)


def _request_id(headers: Headers) -> str:
    return header_text(headers, REQUEST_ID_HEADER) or str(uuid.uuid4())


def _scores(result: SchedulingResult) -> tuple[tuple[str, float], ...]:
    """What the primary profile's scorers gave to whom, weighted; empty where there were none."""
    run = result.profiles[result.primary]
    if run is None or not run.scorers:
        return ()
    return tuple(zip([e.destination for e in run.scored], run.totals, strict=True))


def _first(headers: Headers, names: Sequence[str]) -> str:
    """The value of the first of these headers that is present."""
    for name in names:
        if name in headers:
            return header_text(headers, name)
    return ""
