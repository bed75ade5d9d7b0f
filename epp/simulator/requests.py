"""The bodies that clients send, as far as the simulator reads them; other fields are ignored.

Source: llm-d-inference-sim v0.7.1, request fields.
Differs: of what vLLM calls a prompt, also a list with one text, and a list of token ids, are read;
``tools`` are ignored, the answer is plain text.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epp.simulator.errors import ApiError
from epp.simulator.tokens import tokenize

MOST_ALTERNATIVES = 20
"""Log probabilities per token that may be asked for; vLLM's default."""


class KVTransferParams(msgspec.Struct, frozen=True):
    """How prefill and decode on two model servers refer to each other."""

    do_remote_decode: bool = False
    do_remote_prefill: bool = False
    remote_engine_id: str | None = None
    remote_block_ids: list[str | int | list[int]] | None = None
    remote_host: str | None = None
    remote_port: int | None = None
    tp_size: int | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """What a streaming client wants besides the tokens."""

    include_usage: bool | None = None


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What completions and chat completions have in common."""

    model: str = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    ignore_eos: bool | None = None
    cache_hit_threshold: float | None = None
    kv_transfer_params: KVTransferParams | None = None

    @property
    def limit(self) -> int | None:
        """The most tokens that the client wants."""
        return self.max_tokens

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk about usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def prompt_tokens(self) -> list[str]:
        """The tokens of everything that the model reads."""
        raise NotImplementedError

    def echoed_tokens(self) -> list[str]:
        """The tokens that echo mode answers with."""
        raise NotImplementedError

    def alternatives(self) -> int | None:
        """How many log probabilities per token are wanted; None: not even the token's own."""
        raise NotImplementedError


class CompletionRequest(GenerationRequest, frozen=True, kw_only=True):
    """``POST /v1/completions``."""

    prompt: str | list[str | int | list[int]] = ""
    logprobs: int | None = None

    def prompt_tokens(self) -> list[str]:
        match self.prompt:
            case str(text) | [str(text)]:
                return tokenize(text)
            case [list(ids)]:
                return [f"{item} " for item in ids]
            case [int(), *_] as ids if all(isinstance(item, int) for item in ids):
                return [f"{item} " for item in ids]
        raise ApiError("The prompt should be one text or one list of token ids")

    def echoed_tokens(self) -> list[str]:
        return self.prompt_tokens()

    def alternatives(self) -> int | None:
        return self.logprobs


class ContentBlock(msgspec.Struct, frozen=True):
    """A part of a message; only text counts."""

    type: str = ""
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str = ""
    content: str | list[ContentBlock] | None = None

    @property
    def text(self) -> str:
        """The text, each block followed by a space."""
        if isinstance(self.content, list):
            return "".join(f"{block.text} " for block in self.content if block.text)
        return self.content or ""


class ChatRequest(GenerationRequest, frozen=True, kw_only=True):
    """``POST /v1/chat/completions``."""

    messages: list[Message] = []
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def limit(self) -> int | None:
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens
        return self.max_tokens

    def prompt_tokens(self) -> list[str]:
        return tokenize("".join(f"{message.text} " for message in self.messages))

    def echoed_tokens(self) -> list[str]:
        if not self.messages:
            return []
        asked = [message for message in self.messages if message.role == "user"]
        return tokenize((asked or self.messages)[-1].text)

    def alternatives(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


class LoraRequest(msgspec.Struct, frozen=True):
    """``POST /v1/load_lora_adapter`` and ``/v1/unload_lora_adapter``."""

    lora_name: str
    lora_path: str | None = None


class TokenizeRequest(msgspec.Struct, frozen=True):
    """``POST /tokenize``."""

    prompt: str | None = None
    messages: list[Message] | None = None

    def tokens(self) -> list[str]:
        """The tokens; several messages are joined by one space.

        Raises:
            ApiError: there is a prompt and there are messages.
        """
        if self.prompt is not None and self.messages is not None:
            raise ApiError("Either prompt or messages should be given, not both")
        if self.messages is not None:
            return tokenize(" ".join(message.text for message in self.messages))
        return tokenize(self.prompt or "")


def validate(request: GenerationRequest, prompt_tokens: int, max_model_len: int) -> None:
    """Refuse what cannot be answered.

    Differs: as by vLLM, more than 20 log probabilities per token are refused. Without a limit, a
    prompt that fills the whole context window is refused: there is no
    room for an answer.

    Raises:
        ApiError: always with status 400.
    """
    limit = request.limit
    if any(value is not None and value <= 0 for value in _limits(request)):
        raise ApiError("Max completion tokens and max tokens should be positive")
    transfer = request.kv_transfer_params
    if request.stream and transfer is not None and transfer.do_remote_decode:
        raise ApiError("Prefill does not support streaming")
    if request.ignore_eos and limit is None:
        raise ApiError("Ignore_eos is true but max_completion_tokens (or max_tokens) is not set")
    if not 0 <= (request.alternatives() or 0) <= MOST_ALTERNATIVES:
        raise ApiError(f"Logprobs should be between 0 and {MOST_ALTERNATIVES}")
    threshold = request.cache_hit_threshold
    if threshold is not None and not 0 <= threshold <= 1:
        raise ApiError("Cache_hit_threshold should be between 0 and 1")
    answer_tokens = 1 if limit is None else limit
    if prompt_tokens + answer_tokens > max_model_len:
        raise ApiError(
            f"This model's maximum context length is {max_model_len} tokens. However, you "
            f"requested {prompt_tokens + answer_tokens} tokens ({prompt_tokens} in the messages, "
            f"{answer_tokens} in the completion). Please reduce the length of the messages or "
            "completion"
        )


def _limits(request: GenerationRequest) -> Sequence[int | None]:
    if isinstance(request, ChatRequest):
        return request.max_tokens, request.max_completion_tokens
    return (request.max_tokens,)
