"""``vllmgrpc-parser``: vLLM's gRPC API, prompts as text or token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from epp.core.data import MediaFeature
from epp.core.errors import BadRequestError
from epp.core.parser import Parser
from epp.core.plugin import NoParams, Stability, plugin
from epp.core.request import Headers, RequestBody, Usage, request_path
from epp.core.response import UsageReader
from epp.formats.frames import FrameUsageReader, unframe
from epp.formats.wire import LEN, VARINT, Field, field_budget, fields, last, uint32s
from epp.usage import with_total

INVALID = "invalid or unsupported gRPC payload"

# Numbers of fields in the package vllm.grpc.engine.
_TOKENIZED, _TEXT, _SAMPLING, _STREAM, _MEDIA = 2, 3, 4, 5, 7
_INPUT_IDS = 2
_MAX_TOKENS = 8
_PLACEHOLDERS, _HASHES = 5, 6
_OFFSET, _LENGTH = 1, 2
_CHUNK, _COMPLETE = 1, 2
_EMBED_PROMPT_TOKENS = 2
# Where the counts of prompt, completion and cached tokens are.
_CHUNK_COUNTS = (2, 3, 4)
_COMPLETE_COUNTS = (3, 4, 5)


@plugin("vllmgrpc-parser", params=NoParams, stability=Stability.BETA)
class VllmgrpcParser(Parser):
    """Generate and Embed requests; they name no model, and go on as they came.

    Differs: the numbers of an answer's messages are put together over the whole of it, so those
    that chunks cut are counted too.

    Source: llm-d-router v0.10, requesthandling/parsers/vllmgrpc.
    """

    paths = ("vllm.grpc.engine.VllmEngine/Generate", "vllm.grpc.engine.VllmEngine/Embed")

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        path = request_path(headers).removesuffix(b"/")
        try:
            message = unframe(body)
            found = tuple(fields(message))
            if path.endswith(b"/Generate"):
                return _generate(message, found)
            if path.endswith(b"/Embed"):
                return _embed(message, found)
        except ValueError as error:
            raise BadRequestError(f"{INVALID}: {error}") from None
        return RequestBody(model=None, takes_model=False, follows_answer=False)

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        return body

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        return FrameUsageReader(usage_of)


def _generate(message: bytes, found: Sequence[Field]) -> RequestBody:
    given = [f for f in found if f.number in (_TOKENIZED, _TEXT) and f.kind == LEN]
    if not given:
        raise BadRequestError("not supported request inputType")
    prompt: str | None = None
    prompts: tuple[bytes, ...] = ()
    features: tuple[MediaFeature, ...] = ()
    if given[-1].number == _TEXT:
        prompt = message[given[-1].start : given[-1].end].decode()
    else:
        prompts = (uint32s(message, fields(message, given[-1]), _INPUT_IDS),)
        features = tuple(_features(message, last(found, _MEDIA, LEN)))
    stream = last(found, _STREAM, VARINT)
    return RequestBody(
        model=None,
        prompt=prompt,
        prompts=prompts,
        stream=stream is not None and stream.value != 0,
        max_tokens=_limit(message, last(found, _SAMPLING, LEN)),
        features=features,
        takes_model=False,
    )


def _embed(message: bytes, found: Sequence[Field]) -> RequestBody:
    tokenized = last(found, _TOKENIZED, LEN)
    if tokenized is None:
        raise BadRequestError("missing tokenized input in EmbedRequest")
    ids = uint32s(message, fields(message, tokenized), _INPUT_IDS)
    return RequestBody(model=None, prompts=(ids,), takes_model=False)


def _limit(message: bytes, sampling: Field | None) -> int | None:
    limit = last(fields(message, sampling), _MAX_TOKENS, VARINT) if sampling else None
    return limit.value if limit is not None and limit.value < 1 << 32 else None


def _features(message: bytes, media: Field | None) -> Iterator[MediaFeature]:
    """Each placeholder with the hash in the same position; without one it is empty."""
    if media is None:
        return
    budget = field_budget()
    inner = [field for field in fields(message, media, budget) if field.kind == LEN]
    hashes = [message[f.start : f.end].decode() for f in inner if f.number == _HASHES]
    places = [field for field in inner if field.number == _PLACEHOLDERS]
    for i, place in enumerate(places):
        numbers = {f.number: f.value for f in fields(message, place, budget) if f.kind == VARINT}
        offset, length = numbers.get(_OFFSET, 0), numbers.get(_LENGTH, 0)
        if length:
            yield MediaFeature("image", hashes[i] if i < len(hashes) else "", offset, length)


def usage_of(message: bytes) -> Usage | None:
    """The counts of a message of either kind of answer.

    Raises:
        WireError: it is no message.
    """
    found = tuple(fields(message))
    embedded = last(found, _EMBED_PROMPT_TOKENS, VARINT)
    if embedded is not None:
        return with_total(Usage(prompt_tokens=_count(embedded.value)))
    for field in reversed(found):
        if field.kind == LEN and field.number in (_CHUNK, _COMPLETE):
            at = _CHUNK_COUNTS if field.number == _CHUNK else _COMPLETE_COUNTS
            numbers = {f.number: f.value for f in fields(message, field) if f.kind == VARINT}
            prompt, completion, cached = (_count(numbers.get(number)) for number in at)
            if prompt or completion:
                return with_total(Usage(prompt, completion, None, cached))
    return None


def _count(value: int | None) -> int | None:
    return value if value is not None and value < 1 << 31 else None
