"""``vertexai-parser``: Vertex AI's gRPC API, whose messages hold the JSON of the OpenAI APIs."""

from __future__ import annotations

import msgspec

from epp.core.errors import BadRequestError
from epp.core.parser import Parser
from epp.core.plugin import NoParams, Stability, plugin
from epp.core.request import Headers, RequestBody, Usage, request_path
from epp.core.response import UsageReader
from epp.formats.frames import FrameUsageReader, frame, unframe
from epp.formats.jsonbody import rename_model
from epp.formats.openai import ReadBody, read_chat, read_responses
from epp.formats.wire import LEN, Field, field_budget, fields, last, replace
from epp.usage import EventUsageReader, usage_of

# Numbers of fields in the package google.cloud.aiplatform.v1beta1, and in google.api.HttpBody.
_HTTP_BODY = 2
_DATA = 2

_METHODS: tuple[tuple[bytes, str, ReadBody], ...] = (
    (b"PredictionService/ChatCompletions", "ChatCompletionsRequest", read_chat),
    (b"PredictionService/StreamRawPredict", "StreamRawPredictRequest", read_responses),
    (b"PredictionService/RawPredict", "RawPredictRequest", read_responses),
)


@plugin("vertexai-parser", params=NoParams, stability=Stability.BETA)
class VertexaiParser(Parser):
    """ChatCompletions are chat, RawPredict and StreamRawPredict are requests of the Responses API.

    Differs: a model that is named can be rewritten; upstream never writes these bodies anew. One
    that is not is not needed.

    Source: llm-d-router v0.10, requesthandling/parsers/vertexai.
    """

    paths = (
        "PredictionService/ChatCompletions",
        "PredictionService/StreamRawPredict",
        "PredictionService/RawPredict",
    )

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        path = request_path(headers).removesuffix(b"/")
        for end, name, read in _METHODS:
            if path.endswith(end):
                return _parse(body, name, read)
        return RequestBody(model=None, takes_model=False, follows_answer=False)

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        try:
            message = unframe(body)
            places = _data(message)
            text = rename_model(message[places[-1].start : places[-1].end], target_model)
            return frame(replace(message, places, text))
        except (ValueError, IndexError) as error:
            raise BadRequestError(f"the model cannot be renamed: {error}") from None

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        return FrameUsageReader(_usage)


def _parse(body: bytes, name: str, read: ReadBody) -> RequestBody:
    try:
        message = unframe(body)
    except ValueError as error:
        raise BadRequestError(f"invalid or unsupported gRPC payload: {error}") from None
    try:
        places = _data(message)
    except ValueError as error:
        raise BadRequestError(f"unmarshaling {name}: {error}") from None
    if not places:
        raise BadRequestError(f"{name} has no HttpBody")
    text = message[places[-1].start : places[-1].end] if len(places) == 2 else b""
    try:
        parsed = read(text)
    except BadRequestError as error:
        raise BadRequestError(f"parsing {name}: {error.message}", model=error.model) from None
    return msgspec.structs.replace(parsed, takes_model=parsed.model is not None)


def _data(message: bytes) -> tuple[Field, ...]:
    """The field that is the HttpBody, and in it the one that is its data, as far as they are there.

    Parts of an HttpBody add up; of its data the last one counts.
    """
    found: tuple[Field, ...] = ()
    budget = field_budget()
    for part in fields(message, None, budget):
        if part.number == _HTTP_BODY and part.kind == LEN:
            data = last(fields(message, part, budget), _DATA, LEN)
            if data is not None:
                found = (part, data)
            elif not found:
                found = (part,)
    return found


def _usage(message: bytes) -> Usage | None:
    """The usage in one HttpBody, which holds an answer or events of one."""
    data = last(fields(message), _DATA, LEN)
    if data is None:
        return None
    text = message[data.start : data.end]
    if text.lstrip().startswith(b"{"):
        return usage_of(text)
    events = EventUsageReader()
    events.feed(text)
    return events.result()
