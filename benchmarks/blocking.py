"""What holds up the picker's only thread, and for how long: ``python -m benchmarks.blocking``.

While a piece of work runs, no stream is answered and no endpoint read. Each line is the CPU time
of the longest piece without a break, with 1,000 endpoints, 1,000 models and prompts of 1 MiB.
Work that comes in pieces has its sum too; work in another thread holds nobody up, but shares the
interpreter, which changes hands every 5 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import msgspec

import epp.plugins
from epp.config.load import DEFAULT_CONFIG, load_config
from epp.core.clock import Clock
from epp.core.decision import Decision
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.plugin import Handle
from epp.core.request import IncomingRequest
from epp.core.response import ResponseStart
from epp.datastore.store import Datastore, Pool
from epp.discovery.file import follow, read_endpoints
from epp.exchange import Exchange
from epp.extproc.stepping import start
from epp.routing import make_director
from epp.telemetry import exposition
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.tee import Probes
from epp.tls.certificates import make_self_signed

ENDPOINTS = 1000
MODELS = 1000
PROMPT_BYTES = 2**20
LIMIT_MS = 5.0
ROUNDS = 5
ANSWER = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'


class Crowd:
    """A picker's parts with a large pool, as ``App`` puts them together."""

    def __init__(self) -> None:
        epp.plugins.load()
        self.clock = Clock()
        self.store = Datastore(self.clock)
        self.metrics = MetricsProbe(self.store)
        self.decisions = DecisionLog(self.clock)
        self.probe = Probes(self.metrics, self.decisions)
        handle = Handle(random=Random(1), clock=self.clock, probe=self.probe)
        config = load_config(DEFAULT_CONFIG, "default", handle)
        self.store.set_pool(Pool(name="pool", namespace="default"))
        self.store.set_endpoints(endpoints())
        for i, endpoint in enumerate(self.store.endpoints()):
            self.scrape(endpoint.id, i)
        self.director = make_director(config, self.store, handle)

    def scrape(self, endpoint_id: str, load: int) -> None:
        """An endpoint tells its load."""
        metrics = EndpointMetrics(
            waiting_queue_size=load % 7, kv_cache_ratio=load % 100 / 100, updated_at=0.0
        )
        self.store.scrape_succeeded(endpoint_id, metrics)

    def decide(self, body: bytes, exchange: Exchange | None = None) -> Decision:
        """The decision about a request with this body."""
        exchange = exchange or self.open()
        incoming = IncomingRequest(headers={"x-request-id": b"r"}, body=body, subset=None)
        decision = start(self.director.decide(exchange, incoming))
        assert isinstance(decision, Decision)
        return decision

    def open(self) -> Exchange:
        """What follows one request."""
        return Exchange(clock=self.clock, probe=self.probe, datastore=self.store)

    def whole_request(self, body: bytes) -> None:
        """A request with its answer."""
        exchange = self.open()
        exchange.routed(self.decide(body, exchange))
        exchange.response_started(ResponseStart({"content-type": b"application/json"}))
        exchange.response_chunk(ANSWER)
        exchange.response_ended()
        exchange.close()


def endpoints() -> list[Endpoint]:
    """The pool."""
    return [
        Endpoint(f"default/e{i}", f"e{i}", "default", f"10.0.{i // 250}.{i % 250 + 1}", 8000)
        for i in range(ENDPOINTS)
    ]


def completion(prompt: str, model: str = "m") -> bytes:
    """A completions request."""
    return msgspec.json.encode({"model": model, "prompt": prompt})


def chat(prompt: str) -> bytes:
    """A chat of one long message."""
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": prompt}]})


def long_chat(prompt: str) -> bytes:
    """A chat of a thousand messages."""
    size = len(prompt) // 1000
    parts = [prompt[i : i + size] for i in range(0, len(prompt), size)]
    return msgspec.json.encode(
        {"model": "m", "messages": [{"role": "user", "content": part} for part in parts]}
    )


def at_once(work: Callable[[], object]) -> Callable[[], Iterator[None]]:
    """Work in one piece."""

    def steps() -> Iterator[None]:
        work()
        yield

    return steps


def longest(steps: Callable[[], Iterable[object]]) -> tuple[float, float]:
    """Milliseconds of CPU time of the longest piece and of all, in the best of some rounds."""
    best_piece = best_sum = float("inf")
    for _ in range(ROUNDS):
        piece = total = 0.0
        started = time.thread_time()
        for _ in steps():
            ended = time.thread_time()
            piece = max(piece, ended - started)
            total += ended - started
            started = ended
        total += time.thread_time() - started
        best_piece, best_sum = min(best_piece, piece), min(best_sum, total)
    return best_piece * 1e3, best_sum * 1e3


def cases(crowd: Crowd) -> Iterator[tuple[str, Callable[[], Iterable[object]]]]:
    """Every piece of work with its name."""
    short = completion("word " * 10)
    line = 'She said: "Read the whole of it, s\'il vous plaît, and tell me what it is about."\n'
    prose = line * (PROMPT_BYTES // len(line))
    escapes = "".join(Random(2).choices('abcdefgh \n"é', k=PROMPT_BYTES))

    def after_a_change() -> None:
        crowd.scrape("default/e1", 1)
        crowd.store.candidates()

    def some_unknown() -> None:
        crowd.store.put_endpoint(Endpoint("default/new", "new", "default", "10.1.0.1", 1))
        crowd.store.scrape_unreadable("default/new")
        crowd.store.candidates()
        crowd.store.remove_endpoint("default/new")

    def every_decision() -> Iterator[None]:
        for record in crowd.decisions.find(100):
            msgspec.json.encode(record.render())
            yield

    def forget_all() -> None:
        store = Datastore(crowd.clock)
        store.set_endpoints(endpoints())
        store.set_endpoints([])

    yield "decision, short prompt", at_once(lambda: crowd.decide(short))
    for shape in (completion, chat, long_chat):
        for kind, text in (("prose", prose), ("escapes", escapes)):
            name = f"decision, 1 MiB of {kind}, {shape.__name__}"
            yield name, at_once(partial(crowd.decide, shape(text)))
    yield "candidates after a scrape", at_once(after_a_change)
    yield "candidates, one endpoint unknown", at_once(some_unknown)
    yield "pool gauges", at_once(lambda: crowd.metrics.refresh_pool(crowd.clock.now(), 1e9))
    yield "/metrics", lambda: exposition.chunks(crowd.metrics.registry)
    yield "/metrics: join", at_once(_joined(crowd))
    yield "/debug/decisions?limit=100", every_decision
    yield "endpoints come and go", at_once(forget_all)
    yield "certificate (at start)", at_once(make_self_signed)


def _joined(crowd: Crowd) -> Callable[[], object]:
    pieces = [piece.encode() for piece in exposition.chunks(crowd.metrics.registry)]
    return lambda: b"".join(pieces)


def endpoints_file(folder: Path) -> Path:
    """The pool as a file."""
    path = folder / "endpoints.yaml"
    lines = [
        f'- {{name: {e.name}, address: {e.address}, port: "{e.port}", labels: {{role: both}}}}'
        for e in endpoints()
    ]
    path.write_text("endpoints:\n" + "\n".join(lines) + "\n")
    return path


def reload_ms(path: Path) -> float:
    """CPU time of the loop's thread while it reads the endpoints file."""

    async def reading() -> float:
        best = float("inf")
        for _ in range(ROUNDS):
            store = Datastore()
            started = time.thread_time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await follow(path, store, _refuse, poll_seconds=10.0)
            assert len(store.endpoints()) == ENDPOINTS
            best = min(best, time.thread_time() - started)
        return best * 1e3

    return asyncio.run(reading())


def _refuse(problem: str) -> None:
    raise AssertionError(problem)


def row(name: str, piece_ms: float, sum_ms: float) -> str:
    """One row of the table."""
    mark = "  <- more than 5 ms" if piece_ms > LIMIT_MS else ""
    return f"{name:40}{piece_ms:10.2f}{sum_ms:10.2f}{mark}"


def main() -> None:
    """Print a line per case."""
    crowd = Crowd()
    for i in range(MODELS):
        crowd.whole_request(completion(f"{i} " * 100, model=f"model-{i}"))
    print(f"{'CPU time, ms':40}{'piece':>10}{'sum':>10}")
    for name, steps in cases(crowd):
        print(row(name, *longest(steps)))
    with tempfile.TemporaryDirectory() as folder:
        path = endpoints_file(Path(folder))
        on_loop = reload_ms(path)
        _, aside = longest(at_once(lambda: read_endpoints(path)))
        print(row("endpoints file", on_loop, on_loop))
        print(f"{'endpoints file, in another thread':50}{aside:10.2f}")


if __name__ == "__main__":
    main()
