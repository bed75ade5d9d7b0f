"""The HTTP side of a model server: routes, streams and refusals.

Source: llm-d-inference-sim v0.7.1, HTTP endpoints; ``/version`` and ``/ping`` as in vLLM.
Differs: the role chunk of a chat stream comes with the first token, so that what clients measure
as time to first token is just that; bodies may have 64 MiB instead of 4, since pickers are tested
with large prompts; a client that goes away ends its request at once.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from epp.simulator.answers import (
    DONE,
    REMOTE_PREFILL,
    AnswerWriter,
    ChatWriter,
    CompletionWriter,
    error_body,
)
from epp.simulator.errors import ApiError
from epp.simulator.exposition import CONTENT_TYPE
from epp.simulator.generation import Generation
from epp.simulator.models import ModelList, Tokenized, list_models
from epp.simulator.modelserver import ModelServer, usage_of
from epp.simulator.requests import (
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    LoraRequest,
    TokenizeRequest,
)
from epp.simulator.text import FinishReason
from epp.simulator.tokens import token_id

MAX_BODY_BYTES = 64 * 1024 * 1024
_REQUEST_ID = "X-Request-Id"
_FORCE_THRESHOLD = "X-Cache-Threshold-Finish-Reason"
_JSON = "application/json"
_VERSION = "0.7.1+epp.simulator"  # the release whose behaviour this is

Body = TypeVar("Body")


class Routes:
    """The handlers of one model server."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._headers = server.identity.headers()
        self._can_sleep = False

    def application(self, *, is_development: bool = False) -> web.Application:
        """All routes; ``is_development`` lets ``/sleep`` act, as VLLM_SERVER_DEV_MODE=1 does."""
        self._can_sleep = is_development and self._server.options.enable_sleep_mode
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        router = application.router
        for method, path, handler in (
            ("POST", "/v1/completions", self._completions),
            ("POST", "/v1/chat/completions", self._chat_completions),
            ("GET", "/v1/models", self._models),
            ("POST", "/v1/load_lora_adapter", self._load_lora),
            ("POST", "/v1/unload_lora_adapter", self._unload_lora),
            ("POST", "/tokenize", self._tokenize),
            ("GET", "/metrics", self._metrics),
            ("GET", "/health", self._healthy),
            ("GET", "/ready", self._healthy),
            ("GET", "/version", self._version),
            ("GET", "/ping", self._done),
            ("POST", "/ping", self._done),
            ("POST", "/sleep", self._sleep),
            ("POST", "/wake_up", self._wake_up),
            ("GET", "/is_sleeping", self._is_sleeping),
        ):
            router.add_route(method, path, handler)
        for resource in list(router.resources()):
            router.add_route("*", resource.canonical, _not_allowed)
        router.add_route("*", "/{path:.*}", _not_found)
        return application

    async def _completions(self, http: web.Request) -> web.StreamResponse:
        return await self._answer(http, CompletionRequest, CompletionWriter, "cmpl-")

    async def _chat_completions(self, http: web.Request) -> web.StreamResponse:
        return await self._answer(http, ChatRequest, ChatWriter, "chatcmpl-")

    async def _answer(
        self,
        http: web.Request,
        kind: type[GenerationRequest],
        writer_kind: type[AnswerWriter],
        prefix: str,
    ) -> web.StreamResponse:
        server = self._server
        try:
            server.maybe_fail()
            request = await _read(http, kind)
            job = server.accept(
                request,
                request_id=self._wanted_id(http),
                forces_threshold=http.headers.get(_FORCE_THRESHOLD, "").lower() == "true",
            )
            headers = self._headers
            if server.options.enable_request_id_headers:
                headers = {**headers, _REQUEST_ID: job.id}
            async with server.running(job) as generation:
                writer = writer_kind(server.heading(job, prefix))
                send = _stream if request.stream else _whole
                return await send(http, generation, writer, headers)
        except ApiError as error:
            return _refusal(error)
        except ConnectionError:
            return web.Response()  # the client is gone, nobody reads this

    def _wanted_id(self, http: web.Request) -> str:
        if not self._server.options.enable_request_id_headers:
            return ""
        return http.headers.get(_REQUEST_ID, "")

    async def _models(self, _: web.Request) -> web.Response:
        server = self._server
        models: ModelList = list_models(server.options.aliases, server.loras, server.unix_seconds())
        return _json(models)

    async def _load_lora(self, http: web.Request) -> web.Response:
        try:
            lora = await _read(http, LoraRequest)
        except ApiError as error:
            return _refusal(error)
        self._server.loras[lora.lora_name] = lora.lora_path or ""
        return web.Response()

    async def _unload_lora(self, http: web.Request) -> web.Response:
        try:
            lora = await _read(http, LoraRequest)
        except ApiError as error:
            return _refusal(error)
        self._server.loras.pop(lora.lora_name, None)
        return web.Response()

    async def _tokenize(self, http: web.Request) -> web.Response:
        try:
            request = await _read(http, TokenizeRequest)
            ids = [token_id(token) for token in request.tokens()]
        except ApiError as error:
            return _refusal(error)
        return _json(Tokenized(self._server.options.max_model_len, len(ids), ids))

    async def _metrics(self, _: web.Request) -> web.Response:
        page = self._server.metrics_page()
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})

    async def _healthy(self, _: web.Request) -> web.Response:
        return _json({})

    async def _version(self, _: web.Request) -> web.Response:
        return _json({"version": _VERSION})

    async def _done(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _sleep(self, _: web.Request) -> web.Response:
        if self._can_sleep:
            self._server.fall_asleep()
        return web.Response()

    async def _wake_up(self, http: web.Request) -> web.Response:
        self._server.wake_up(http.query.getall("tags", []))
        return web.Response()

    async def _is_sleeping(self, _: web.Request) -> web.Response:
        return _json({"is_sleeping": self._server.is_sleeping})


async def _whole(
    http: web.Request, generation: Generation, writer: AnswerWriter, headers: dict[str, str]
) -> web.StreamResponse:
    """Send the answer in one piece; the slot is held until it is sent."""
    await generation.prefill()
    await generation.remaining_tokens()
    transfer = REMOTE_PREFILL if generation.finish_reason is FinishReason.REMOTE_DECODE else None
    usage = usage_of(generation)
    body = writer.whole(generation.tokens, generation.finish_reason, usage, transfer)
    response = web.Response(body=body, content_type=_JSON, headers=headers)
    await response.prepare(http)
    await response.write_eof()
    return response


async def _stream(
    http: web.Request, generation: Generation, writer: AnswerWriter, headers: dict[str, str]
) -> web.StreamResponse:
    """Send one event per token; events that are due together are written together."""
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
    await response.prepare(http)
    await generation.prefill()
    reason, last = generation.finish_reason, len(generation.tokens) - 1
    closes_apart = reason is FinishReason.STOP or last < 0
    events, position = [writer.opening()], 0
    while not generation.is_complete:
        for token in await generation.next_tokens():
            rides_along = position == last and not closes_apart
            events.append(writer.token(position, token, reason if rides_along else None))
            position += 1
        if not generation.is_complete:
            await response.write(b"".join(events))
            events.clear()
    if closes_apart:
        events.append(writer.closing(reason))
    if generation.job.request.wants_usage:
        events.append(writer.usage(usage_of(generation)))
    events.append(DONE)
    await response.write_eof(b"".join(events))
    return response


async def _read(http: web.Request, kind: type[Body]) -> Body:
    """Decode a body.

    Raises:
        ApiError: it is too large, not JSON, or a field is of a wrong type.
    """
    try:
        return msgspec.json.decode(await http.read(), type=kind)
    except web.HTTPRequestEntityTooLarge:
        message = f"The request body is larger than {MAX_BODY_BYTES} bytes"
        raise ApiError(message, status=413) from None
    except msgspec.DecodeError as error:
        raise ApiError(f"The request body cannot be read: {error}") from None


def _refusal(error: ApiError) -> web.Response:
    return web.Response(body=error_body(error), status=error.status, content_type=_JSON)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type=_JSON)


async def _not_found(_: web.Request) -> web.Response:
    return web.Response(text="Not Found", status=404)


async def _not_allowed(_: web.Request) -> web.Response:
    return web.Response(text="Method Not Allowed", status=405)
