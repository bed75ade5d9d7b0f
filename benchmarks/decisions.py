"""What a whole decision costs, by pool and prompt: ``python -m benchmarks.decisions``.

From a parsed request's bytes to the decision, without wire and transport: parsing, producers,
filters, scores, pick, learning. *Cold* prompts were never seen; *warm* ones are the same again and
again. CPU time, the median of several rounds. The default configuration of either generation: of
the older one with its index in bytes, of the newer one with tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from random import Random
from statistics import median

import epp.plugins
from epp.config.load import DEFAULT_CONFIG, load_config
from epp.config.schema import NEW_GROUP, OLD_GROUP
from epp.core.clock import Clock
from epp.core.decision import Decision
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.plugin import Handle
from epp.core.request import IncomingRequest
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.extproc.stepping import start
from epp.routing import make_director
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.tee import Probes

POOLS = (10, 100, 1000)
PROMPTS = (("200 B", 200), ("8 kB", 8_000), ("400 kB", 400_000))
GROUPS = (("older", OLD_GROUP), ("newer", NEW_GROUP))
ROUNDS = 7
ROUND_SECONDS = 0.05
HEADERS = {":path": b"/v1/completions", "x-request-id": b"r"}


class Picker:
    """The parts that decide, over a pool of so many endpoints."""

    def __init__(self, group: str, endpoints: int) -> None:
        self._clock = Clock()
        self._store = Datastore(self._clock)
        self._probe = Probes(MetricsProbe(self._store), DecisionLog(self._clock))
        handle = Handle(random=Random(1), clock=self._clock, probe=self._probe)
        config = load_config(DEFAULT_CONFIG.replace(OLD_GROUP, group), "default", handle)
        for i in range(endpoints):
            address = f"10.0.{i // 250}.{i % 250}"
            self._store.put_endpoint(Endpoint(f"default/e{i}", f"e{i}", "default", address, 8000))
            metrics = EndpointMetrics(
                waiting_queue_size=i % 10, kv_cache_ratio=i % 10 / 10, updated_at=0.0
            )
            self._store.scrape_succeeded(f"default/e{i}", metrics)
        self._director = make_director(config, self._store, handle)

    def decide(self, body: bytes) -> None:
        """One decision."""
        exchange = Exchange(clock=self._clock, probe=self._probe, datastore=self._store)
        incoming = IncomingRequest(headers=HEADERS, body=body, subset=None)
        decision = start(self._director.decide(exchange, incoming))
        assert isinstance(decision, Decision)
        exchange.close()


def body(size: int, number: int) -> bytes:
    """A prompt of this size; those of two numbers have no block in common."""
    word = f"{number:x} word "
    prompt = (word * (size // len(word) + 1))[:size]
    return b'{"model":"m","prompt":"' + prompt.encode() + b'"}'


def cost(run: Callable[[int], object]) -> float:
    """Microseconds per call, each call with a number of its own."""
    rounds: list[float] = []
    number = 0
    for _ in range(ROUNDS):
        calls, started = 0, time.process_time()
        while (passed := time.process_time() - started) < ROUND_SECONDS:
            run(number)
            number += 1
            calls += 1
        rounds.append(passed / calls * 1e6)
    return median(rounds)


def main() -> None:
    """Print the table."""
    epp.plugins.load()
    print("us per decision      " + "".join(f"{f'{n} cold':>11}{f'{n} warm':>11}" for n in POOLS))
    for name, group in GROUPS:
        for label, size in PROMPTS:
            cells: list[float] = []
            for endpoints in POOLS:
                picker = Picker(group, endpoints)
                making = cost(partial(body, size))  # a cold prompt is made anew each time
                cells.append(cost(lambda n: picker.decide(body(size, n))) - making)  # noqa: B023
                warm = body(size, 0)
                cells.append(cost(lambda _: picker.decide(warm)))  # noqa: B023
            print(f"{name:<8}{label:>8}     " + "".join(f"{cell:>11.0f}" for cell in cells))


if __name__ == "__main__":
    main()
