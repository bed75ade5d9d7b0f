"""The bodies that clients get; the order of fields is the order of keys on the wire.

Source: llm-d-inference-sim v0.7.1, responses.
Differs: every error body is JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from epp.simulator.errors import ApiError
from epp.simulator.logprobs import ChatLogprobs, TextLogprobs, chat_logprobs, text_logprobs
from epp.simulator.requests import KVTransferParams
from epp.simulator.text import FinishReason

DONE = b"data: [DONE]\n\n"
_ENCODER = msgspec.json.Encoder()

REMOTE_PREFILL = KVTransferParams(
    do_remote_decode=False,
    do_remote_prefill=True,
    remote_engine_id="DUMMY_ID",
    remote_block_ids=["DUMMY_ID"],
    remote_host="DUMMY",
    remote_port=1234,
    tp_size=1,
)
"""What a prefill answers, for the decode request that follows."""


class Usage(msgspec.Struct, frozen=True):
    """How many tokens went in and came out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TextChoice(msgspec.Struct, frozen=True):
    """A completion, or one token of it."""

    index: int
    finish_reason: FinishReason | None
    text: str
    logprobs: TextLogprobs | UnsetType = UNSET


class Delta(msgspec.Struct, frozen=True):
    """What a chunk adds to a chat message."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class MessageChoice(msgspec.Struct, frozen=True):
    """A whole chat message."""

    index: int
    finish_reason: FinishReason | None
    message: Delta
    logprobs: ChatLogprobs | UnsetType = UNSET


class DeltaChoice(msgspec.Struct, frozen=True):
    """A part of a chat message."""

    index: int
    finish_reason: FinishReason | None
    delta: Delta
    logprobs: ChatLogprobs | UnsetType = UNSET


Choice = TextChoice | MessageChoice | DeltaChoice


class Answer(msgspec.Struct, frozen=True):
    """A body, or one chunk of a stream."""

    id: str
    created: int
    model: str
    usage: Usage | None
    object: str
    kv_transfer_params: KVTransferParams | None
    choices: Sequence[Choice]


class Heading(msgspec.Struct, frozen=True):
    """What all chunks of an answer share."""

    id: str
    created: int
    model: str
    alternatives: int | None


class AnswerWriter:
    """Spells one answer, whole or in server-sent events."""

    _whole_object = ""
    _chunk_object = ""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._offset = 0

    def whole(
        self,
        tokens: Sequence[str],
        reason: FinishReason,
        usage: Usage,
        transfer: KVTransferParams | None,
    ) -> bytes:
        """The body of an answer without streaming."""
        choice = self._whole_choice(tokens, reason)
        return _ENCODER.encode(self._answer(self._whole_object, [choice], usage, transfer))

    def opening(self) -> bytes:
        """The event before the first token, if there is one."""
        return b""

    def token(self, position: int, token: str, reason: FinishReason | None) -> bytes:
        """The event of one token; ``reason`` where it rides on the last one."""
        event = self._event([self._token_choice(position, token, reason)])
        self._offset += len(token)
        return event

    def closing(self, reason: FinishReason) -> bytes:
        """The event without text that carries the reason."""
        return self._event([self._closing_choice(reason)])

    def usage(self, usage: Usage) -> bytes:
        """The event about usage, last but for ``[DONE]``."""
        return self._event([], usage)

    def _event(self, choices: Sequence[Choice], usage: Usage | None = None) -> bytes:
        answer = self._answer(self._chunk_object, choices, usage, None)
        return b"data: " + _ENCODER.encode(answer) + b"\n\n"

    def _answer(
        self,
        kind: str,
        choices: Sequence[Choice],
        usage: Usage | None,
        transfer: KVTransferParams | None,
    ) -> Answer:
        heading = self._heading
        return Answer(heading.id, heading.created, heading.model, usage, kind, transfer, choices)

    def _whole_choice(self, tokens: Sequence[str], reason: FinishReason) -> Choice:
        raise NotImplementedError

    def _token_choice(self, position: int, token: str, reason: FinishReason | None) -> Choice:
        raise NotImplementedError

    def _closing_choice(self, reason: FinishReason) -> Choice:
        raise NotImplementedError


class CompletionWriter(AnswerWriter):
    """Answers of ``/v1/completions``."""

    _whole_object = "text_completion"
    _chunk_object = "text_completion"

    def _whole_choice(self, tokens: Sequence[str], reason: FinishReason) -> Choice:
        return TextChoice(0, reason, "".join(tokens), self._logprobs(tokens, 0))

    def _token_choice(self, position: int, token: str, reason: FinishReason | None) -> Choice:
        return TextChoice(0, reason, token, self._logprobs((token,), position))

    def _closing_choice(self, reason: FinishReason) -> Choice:
        return TextChoice(0, reason, "")

    def _logprobs(self, tokens: Sequence[str], position: int) -> TextLogprobs | UnsetType:
        wanted = self._heading.alternatives
        if wanted is None:
            return UNSET
        return text_logprobs(tokens, wanted, position=position, offset=self._offset)


class ChatWriter(AnswerWriter):
    """Answers of ``/v1/chat/completions``."""

    _whole_object = "chat.completion"
    _chunk_object = "chat.completion.chunk"

    def opening(self) -> bytes:
        return self._event([DeltaChoice(0, None, Delta("assistant", ""))])

    def _whole_choice(self, tokens: Sequence[str], reason: FinishReason) -> Choice:
        message = Delta("assistant", "".join(tokens))
        return MessageChoice(0, reason, message, self._logprobs(tokens, 0))

    def _token_choice(self, position: int, token: str, reason: FinishReason | None) -> Choice:
        return DeltaChoice(0, reason, Delta(content=token), self._logprobs((token,), position))

    def _closing_choice(self, reason: FinishReason) -> Choice:
        return DeltaChoice(0, reason, Delta())

    def _logprobs(self, tokens: Sequence[str], position: int) -> ChatLogprobs | UnsetType:
        wanted = self._heading.alternatives
        return UNSET if wanted is None else chat_logprobs(tokens, wanted, position=position)


def error_body(error: ApiError) -> bytes:
    """The OpenAI-style body of a refusal."""
    inner = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": error.status,
    }
    return _ENCODER.encode({"error": inner})
