"""``sglanghttp-parser``: SGLang's generate API, prompts as token ids."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from epp.core.errors import BadRequestError
from epp.core.plugin import NoParams, Parser, Stability, plugin
from epp.core.request import Headers, RequestBody, Usage, request_path
from epp.core.response import UsageReader
from epp.formats.jsonbody import (
    ABSENT,
    UNREADABLE,
    TokenIdError,
    decode,
    read_token_ids,
    token_limit,
)
from epp.usage import UsageShape, count, usage_reader, with_total


class _Body(msgspec.Struct):
    stream: Any = None
    input_ids: msgspec.Raw = ABSENT
    extra_key: Any = None
    sampling_params: msgspec.Raw = ABSENT


class _Sampling(msgspec.Struct):
    max_new_tokens: msgspec.Raw = ABSENT


class _Meta(msgspec.Struct):
    prompt_tokens: Any = None
    completion_tokens: Any = None
    cached_tokens: Any = None


class _Answer(msgspec.Struct):
    meta_info: _Meta


_BODY = msgspec.json.Decoder(_Body)
_SAMPLING = msgspec.json.Decoder(_Sampling)
_ANSWER = msgspec.json.Decoder(_Answer)


@plugin("sglanghttp-parser", params=NoParams, stability=Stability.BETA)
class SglanghttpParser(Parser):
    """Token ids; the body names no model, and goes on as it came.

    Source: llm-d-router v0.10, requesthandling/parsers/sglanghttp.
    """

    paths = ("generate",)

    def parse(self, headers: Headers, body: bytes) -> RequestBody:
        path = request_path(headers)
        if path.strip(b"/") != b"generate":
            raise BadRequestError(f"unsupported path: {path.decode('utf-8', 'replace')}")
        try:
            read = decode(_BODY, body)
        except ValueError as error:
            raise BadRequestError(f"error unmarshaling request body: {error}") from None
        if not isinstance(read.extra_key, str | None):
            raise BadRequestError("unsupported generate request: extra_key must be a string")
        return RequestBody(
            model=None,
            prompts=(_input_ids(read.input_ids),),
            cache_salt=read.extra_key or "",
            stream=read.stream is True,
            max_tokens=_limit(read.sampling_params),
            takes_model=False,
        )

    def rename_model(self, body: bytes, target_model: str) -> bytes:
        return body

    def usage_reader(self, is_streaming: bool) -> UsageReader:
        return usage_reader(is_streaming, _EVENT if is_streaming else _JSON)


def _input_ids(member: msgspec.Raw) -> bytes:
    if bytes(member) == b"null":
        raise BadRequestError("invalid generate request: input_ids must be provided")
    try:
        ids = read_token_ids(member)
    except TokenIdError:
        ids = None
    if ids is None:
        raise BadRequestError(
            "invalid generate request: input_ids must be an array of uint32 integers"
        )
    if not ids:
        raise BadRequestError("invalid generate request: input_ids cannot be empty")
    return ids


def _limit(member: msgspec.Raw) -> int | None:
    try:
        return token_limit(_SAMPLING.decode(member).max_new_tokens)
    except UNREADABLE:
        return None


def _usage(answer: bytes | bytearray) -> Usage | None:
    try:
        meta = _ANSWER.decode(answer).meta_info
    except UNREADABLE:
        return None
    return with_total(
        Usage(
            count(meta.prompt_tokens),
            count(meta.completion_tokens),
            None,
            count(meta.cached_tokens),
        )
    )


_JSON = UsageShape(re.compile(rb'"meta_info"\s*:\s*\{'), _usage)
# Every event has counts; those of the one that says why it is the last are the whole.
_EVENT = UsageShape(re.compile(rb'"finish_reason"\s*:\s*(?!null)\S'), _usage)
