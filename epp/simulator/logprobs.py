"""Synthetic log probabilities, for clients that insist on them.

The token at position i has -1.0 - 0.1 * (i mod 3); alternative j is 0.5 * j lower and is named
``<token>_<j>``.

Source: llm-d-inference-sim v0.7.1, logprobs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class TextLogprobs(msgspec.Struct, frozen=True):
    """The form that completions use."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TopLogprob(msgspec.Struct, frozen=True):
    """One alternative."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(msgspec.Struct, frozen=True):
    """One token of a chat answer."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct, frozen=True):
    """The form that chat completions use."""

    content: list[TokenLogprob]


def text_logprobs(
    tokens: Sequence[str], alternatives: int, *, position: int = 0, offset: int = 0
) -> TextLogprobs:
    """For some tokens of an answer, of which the first has this position and text offset."""
    result = TextLogprobs([], [], [], [])
    for index, token in enumerate(tokens, position):
        result.tokens.append(token)
        result.token_logprobs.append(_logprob(index))
        result.top_logprobs.append(dict(_ranked(token, index, alternatives)))
        result.text_offset.append(offset)
        offset += len(token)
    return result


def chat_logprobs(tokens: Sequence[str], alternatives: int, *, position: int = 0) -> ChatLogprobs:
    """For some tokens of an answer, of which the first has this position."""
    return ChatLogprobs(
        [
            TokenLogprob(
                token,
                _logprob(index),
                list(token.encode()),
                [
                    TopLogprob(name, logprob, list(name.encode()))
                    for name, logprob in _ranked(token, index, alternatives)
                ],
            )
            for index, token in enumerate(tokens, position)
        ]
    )


def _logprob(position: int) -> float:
    return -1.0 - 0.1 * (position % 3)


def _ranked(token: str, position: int, alternatives: int) -> list[tuple[str, float]]:
    """The token itself, then what could have been there instead."""
    best = _logprob(position)
    return [(f"{token}_{j}" if j else token, best - 0.5 * j) for j in range(alternatives)]
