"""What the simulator answers: how many tokens, and which.

Source: llm-d-inference-sim v0.7.1, text generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from random import Random

import msgspec

from epp.simulator.tokens import tokenize

_MEAN_TOKENS, _STD_DEV_TOKENS = 40, 20
_SMALL_ROOM = 20
# How likely each of five length buckets is, added up; beyond the last one the answer is cut.
_CUMULATIVE = (0.2, 0.5, 0.7, 0.75, 0.85)
_BUCKET_TOKENS = 20
_EVEN_BUCKETS_UP_TO = 101

_SENTENCES = tuple(
    tokenize(sentence)
    for sentence in (
        "The harbour is quiet before the first ferry leaves.",
        "A good map leaves out almost everything.",
        "Nobody at the station could say when the next train was due.",
        "Bread needs time, warmth and very little else.",
        "The committee met twice and agreed on the colour of the door.",
        "Rain is expected in the north; the south stays dry.",
        "She tuned the piano by ear and closed the lid.",
        "Every lighthouse keeps a log of the ships it has seen.",
        "Two plus two is four, even on a Monday.",
        "The old printer hums, blinks and finally prints the page.",
        "They planted an orchard where the car park used to be.",
    )
)


class FinishReason(StrEnum):
    """Why an answer ended, as it is written on the wire."""

    STOP = "stop"
    LENGTH = "length"
    REMOTE_DECODE = "remote_decode"
    CACHE_THRESHOLD = "cache_threshold"
    ABORT = "abort"


class Text(msgspec.Struct, frozen=True):
    """An answer, token by token."""

    tokens: Sequence[str]
    finish_reason: FinishReason


def echo(tokens: Sequence[str], max_tokens: int | None) -> Text:
    """The prompt itself; a limit changes the finish reason but does not cut."""
    is_limited = max_tokens is not None and max_tokens <= len(tokens)
    return Text(tokens, FinishReason.LENGTH if is_limited else FinishReason.STOP)


def invent(random: Random, max_tokens: int | None, room: int, *, ignore_eos: bool) -> Text:
    """Random sentences, at most ``max_tokens`` tokens or else what fits into ``room`` (>= 1)."""
    limit = room if max_tokens is None else max_tokens
    if ignore_eos:
        count = limit
    elif max_tokens is None:
        count = _free_length(random, room)
    else:
        count = _limited_length(random, max_tokens)
    reason = FinishReason.LENGTH if count == limit else FinishReason.STOP
    return Text(_sentences(random, count), reason)


def _free_length(random: Random, room: int) -> int:
    """About 40 tokens.

    Differs: uniform where fewer than 20 tokens fit, as later releases do; redrawing the bell curve
    until it fits takes long there, and for ever when nothing fits.
    """
    if room < _SMALL_ROOM:
        return random.randint(1, room)
    while True:
        count = round(random.gauss(_MEAN_TOKENS, _STD_DEV_TOKENS))
        if 1 <= count <= room:
            return count


def _limited_length(random: Random, limit: int) -> int:
    """Mostly shorter than the limit, about one answer in seven is cut by it."""
    if limit <= 1:
        return limit
    if limit <= len(_CUMULATIVE) + 1:
        return random.randint(1, limit)
    draw = random.random()
    for bucket, threshold in enumerate(_CUMULATIVE):
        if draw <= threshold:
            start, end = _bucket_bounds(bucket, limit)
            return random.randint(start, min(end, limit - 1))
    return limit


def _bucket_bounds(bucket: int, limit: int) -> tuple[int, int]:
    if limit <= _EVEN_BUCKETS_UP_TO:
        size = (limit - 1) / len(_CUMULATIVE)
        return int(size * bucket) + 1, int(size * (bucket + 1))
    # Every bucket has 20 lengths but the fourth, which takes what is left.
    wide = limit - 4 * _BUCKET_TOKENS
    ends = (20, 40, 60, 60 + wide, 80 + wide)
    return (ends[bucket - 1] if bucket else 0) + 1, ends[bucket]


def _sentences(random: Random, count: int) -> list[str]:
    tokens: list[str] = []
    while len(tokens) < count:
        first, *rest = random.choice(_SENTENCES)
        tokens.append(f" {first}" if tokens else first)
        tokens += rest
    del tokens[count:]
    return tokens
