"""``vllmhttp-parser``: vLLM's generate API, prompts as token ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from epp.core.data import MediaFeature
from epp.core.errors import BadRequestError
from epp.core.plugin import NoParams, Parser, Stability, plugin
from epp.core.request import Headers, RequestBody, request_path
from epp.core.response import UsageReader
from epp.formats.jsonbody import (
    ABSENT,
    UNREADABLE,
    TokenIdError,
    decode,
    read_token_ids,
    rename_model,
    token_limit,
)
from epp.usage import usage_reader


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    cache_salt: Any = ""
    token_ids: msgspec.Raw = ABSENT
    sampling_params: msgspec.Raw = ABSENT
    features: msgspec.Raw = ABSENT


class _Sampling(msgspec.Struct):
    max_tokens: msgspec.Raw = ABSENT


class _Placeholder(msgspec.Struct):
    offset: int = 0
    length: int = 0


class _Features(msgspec.Struct):
    mm_hashes: dict[str, list[str]] | None = None
    mm_placeholders: dict[str, list[_Placeholder]] | None = None


_BODY = msgspec.json.Decoder(_Body)
_SAMPLING = msgspec.json.Decoder(_Sampling)
_FEATURES = msgspec.json.Decoder(_Features)


@plugin("vllmhttp-parser", params=NoParams, stability=Stability.BETA)
class VllmhttpParser(Parser):
    """Token ids, and where in them images, videos and sounds are.

    Differs: sampling parameters and features that are not as documented are passed over.

    Source: llm-d-router v0.10, requesthandling/parsers/vllmhttp.
    """

    paths = ("inference/v1/generate",)

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        path = request_path(headers)
        if not path.endswith(b"inference/v1/generate"):
            raise BadRequestError(f"unsupported path: {path.decode('utf-8', 'replace')}")
        try:
            read = decode(_BODY, body)
        except ValueError as error:
            raise BadRequestError(f"error unmarshaling request body: {error}") from None
        model = read.model if isinstance(read.model, str) else None
        return RequestBody(
            model=model,
            prompts=(_token_ids(read.token_ids, model or ""),),
            cache_salt=read.cache_salt if isinstance(read.cache_salt, str) else "",
            stream=read.stream is True,
            max_tokens=_limit(read.sampling_params),
            features=tuple(_features(read.features)),
        )

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        return rename_model(body, target_model)

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        return usage_reader(is_streaming)


def _token_ids(member: msgspec.Raw, model: str) -> bytes:
    try:
        ids = read_token_ids(member)
    except TokenIdError as error:
        raise BadRequestError(f"invalid generate request: token_ids{error}", model=model) from None
    if not ids:
        raise BadRequestError(
            "invalid generate request: must have non-empty token_ids field", model=model
        )
    return ids


def _limit(member: msgspec.Raw) -> int | None:
    try:
        return token_limit(_SAMPLING.decode(member).max_tokens)
    except UNREADABLE:
        return None


def _features(member: msgspec.Raw) -> Iterator[MediaFeature]:
    """Each placeholder with the hash in the same position; without one it is empty."""
    try:
        read = _FEATURES.decode(member)
    except UNREADABLE:
        return
    for modality, placeholders in (read.mm_placeholders or {}).items():
        hashes = (read.mm_hashes or {}).get(modality, ())
        for i, place in enumerate(placeholders):
            content = hashes[i] if i < len(hashes) else ""
            if place.offset >= 0 and place.length > 0:
                yield MediaFeature(modality, content, place.offset, place.length)
