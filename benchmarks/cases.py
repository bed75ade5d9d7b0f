"""The cases: what is sent, and what the Go picker of the same day needs for it."""

from __future__ import annotations

import enum

import msgspec

from benchmarks.load import Plan
from benchmarks.prompts import PromptKind

LONG_PROMPT_CHARACTERS = 400_000


class Unit(enum.StrEnum):
    """What a figure counts, spelled for the table."""

    MS_PER_REQUEST = "ms/request"
    US_PER_CHUNK = "us/chunk"
    CORES = "cores"
    MIB = "MiB"


class Case(msgspec.Struct, frozen=True):
    """Traffic whose cost is measured.

    ``seconds`` bounds a full run; ``reference`` is the Go picker's figure in ``unit``, on two cores
    with ten endpoints and ``--v 1``.
    """

    name: str
    unit: Unit
    reference: float
    requests: int
    seconds: float
    concurrency: int = 16
    rate: float | None = None
    prompt_characters: int = 200
    prompt_kind: PromptKind = PromptKind.NEW
    stream: bool = False

    def plan(self, port: int, *, share: float = 1.0, seed: int = 1) -> Plan:
        """The load for this share of the case's time; the number of requests is a bound of it."""
        return Plan(
            port=port,
            requests=max(self.concurrency, int(self.requests * share)),
            seconds=self.seconds * share,
            concurrency=self.concurrency,
            rate=self.rate,
            prompt_characters=self.prompt_characters,
            prompt_kind=self.prompt_kind,
            stream=self.stream,
            seed=seed,
        )


SMALL = Case("small request, c=16", Unit.MS_PER_REQUEST, 0.28, requests=20_000, seconds=20)
SMALL_VERBOSE = Case(
    "small request, c=16, --v 4", Unit.MS_PER_REQUEST, 0.69, requests=20_000, seconds=16
)
CASES = (
    SMALL,
    Case(
        "small request, 300/s",
        Unit.MS_PER_REQUEST,
        0.80,
        requests=6_000,
        seconds=20,
        rate=300,
    ),
    Case(
        "streamed chunk, c=32",
        Unit.US_PER_CHUNK,
        32,
        requests=2_000,
        seconds=20,
        concurrency=32,
        stream=True,
    ),
    Case(
        "8 kB prompt, c=16",
        Unit.MS_PER_REQUEST,
        0.75,
        requests=20_000,
        seconds=16,
        prompt_characters=8_000,
    ),
)
# Every one of these is sent, so that memory is measured after the same number of prompts.
LONG_CASES = (
    Case(
        "400 kB prompt, new",
        Unit.MS_PER_REQUEST,
        9.3,
        requests=500,
        seconds=45,
        concurrency=4,
        prompt_characters=LONG_PROMPT_CHARACTERS,
    ),
    Case(
        "400 kB prompt, repeated",
        Unit.MS_PER_REQUEST,
        8.3,
        requests=100,
        seconds=15,
        concurrency=4,
        prompt_characters=LONG_PROMPT_CHARACTERS,
        prompt_kind=PromptKind.REPEATED,
    ),
)

# Idle cores by number of scraped endpoints, and resident memory.
IDLE_REFERENCES = {10: 0.12, 100: 0.99}
START_MIB_REFERENCE = 60.0
END_MIB_REFERENCE = 590.0

# Envoy's own cost where the Go figures were measured: a yardstick between machines.
ENVOY_MS_PER_SMALL_REQUEST = 0.19
ENVOY_US_PER_CHUNK = 23
