"""Answers about models and tokens.

Source: llm-d-inference-sim v0.7.1, /v1/models and /tokenize.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec


class Model(msgspec.Struct, frozen=True):
    """One name that requests may use."""

    id: str
    object: str
    created: int
    owned_by: str
    root: str
    parent: str | None


class ModelList(msgspec.Struct, frozen=True):
    """``GET /v1/models``."""

    object: str
    data: list[Model]


class Tokenized(msgspec.Struct, frozen=True):
    """``POST /tokenize``."""

    max_model_len: int
    count: int
    tokens: list[int]
    token_strs: None = None


def list_models(aliases: Sequence[str], loras: Iterable[str], created: int) -> ModelList:
    """The aliases of the base model, then the adapters."""
    base = [Model(name, "model", created, "vllm", name, None) for name in aliases]
    adapters = [Model(name, "model", created, "vllm", name, aliases[0]) for name in loras]
    return ModelList("list", base + adapters)
