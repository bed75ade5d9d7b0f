"""``make demo``: a real Envoy, the picker, three model servers: who got each request and why.

Everything listens on free loopback ports. With ``--once`` it ends by itself, with status 0 only if
every request ended as expected; otherwise it stays until Ctrl-C. No process is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from epp.config.load import DEFAULT_CONFIG
from lab.endpoints import LabEndpoint
from lab.envoy import Envoy, run_envoy
from lab.picker import Picker, run_picker
from lab.process import ProcessError
from lab.simulators import Simulators, run_simulators

BASE_MODEL = "meta-llama/Llama-3.1-8B-Instruct"
ADAPTER = "reviews-1"
SEED_FLAGS = ["--max-loras", "2", "--lora-modules", json.dumps({"name": ADAPTER})]
PACE_FLAGS = ["--time-to-first-token", "40ms", "--inter-token-latency", "2ms"]
CACHE_FLAGS = ["--enable-kvcache", "--kv-cache-size", "512", "--max-model-len", "8192"]
SHARED_PREFIX = ("The reviewers of the Globe, the Rose and the Swan agree on little. " * 90)[:6000]
QUESTION = "What do reviewers think about The Comedy of Errors?"


class DemoRequest(msgspec.Struct, frozen=True):
    """A request and how it has to end."""

    title: str
    path: str
    body: bytes
    status: int = 200
    is_routed: bool = True
    goes_on: bool = False
    """Whether the next requests are sent while this one is still being answered."""


class Outcome(msgspec.Struct, frozen=True):
    """How a request ended, and the decision behind it."""

    request: DemoRequest
    status: int
    answer: bytes
    endpoint: str
    milliseconds: float
    decision: dict[str, Any] | None

    @property
    def is_expected(self) -> bool:
        """Status as expected, answered in full, and by the endpoint that was picked."""
        if self.status != self.request.status or not self.answer:
            return False
        if not self.request.is_routed:
            return self.decision is None
        return self.decision is not None and self.endpoint in self.decision["destination"]


def completion(
    title: str, prompt: str, *, model: str = BASE_MODEL, status: int = 200
) -> DemoRequest:
    """A completions request."""
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": 20, "temperature": 0})
    return DemoRequest(title, "/v1/completions", body.encode(), status)


def chat(title: str, text: str, *, max_tokens: int = 20, goes_on: bool = False) -> DemoRequest:
    """A streamed chat request."""
    body = {
        "model": BASE_MODEL,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "ignore_eos": goes_on,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return DemoRequest(title, "/v1/chat/completions", json.dumps(body).encode(), goes_on=goes_on)


def requests() -> list[DemoRequest]:
    """The mix: what a pool sees in a minute, broken requests included."""
    long_prompts = [f"Act {i}. " * 250 for i in range(2)]
    return [
        *[chat("long chat, goes on", p, max_tokens=900, goes_on=True) for p in long_prompts],
        *[completion("short prompt", f"{QUESTION} Number {i}.") for i in range(3)],
        *[
            completion("shared prefix of 6,000 characters", SHARED_PREFIX + str(i))
            for i in range(4)
        ],
        *[chat("streamed chat", f"{QUESTION} Take {i}.") for i in range(2)],
        *[completion(f"LoRA adapter {ADAPTER}", QUESTION, model=ADAPTER) for _ in range(2)],
        completion("unknown model", QUESTION, model="nobody/has-this", status=404),
        DemoRequest("malformed JSON", "/v1/completions", b'{"model": ', 400, is_routed=False),
    ]


class Stage(msgspec.Struct, frozen=True):
    """The parts that run."""

    simulators: Simulators
    picker: Picker
    envoy: Envoy


@contextlib.contextmanager
def stage(directory: Path, console: Console) -> Iterator[Stage]:
    """Start everything, saying how far it is."""
    with contextlib.ExitStack() as parts:
        with console.status("starting three simulated vLLM servers"):
            simulators = parts.enter_context(
                run_simulators(
                    directory,
                    model=BASE_MODEL,
                    flags=[*SEED_FLAGS, *PACE_FLAGS, *CACHE_FLAGS],
                )
            )
        console.print(f"model servers  {', '.join(_address(e) for e in simulators.endpoints)}")
        with console.status("starting the endpoint picker"):
            picker = parts.enter_context(
                run_picker(directory, simulators.endpoints, config=DEFAULT_CONFIG)
            )
        console.print(
            f"picker         ext_proc 127.0.0.1:{picker.ports.grpc}, "
            f"health 127.0.0.1:{picker.ports.health}, "
            f"metrics http://127.0.0.1:{picker.ports.metrics}/metrics"
        )
        with console.status("starting Envoy"):
            envoy = parts.enter_context(
                run_envoy(directory, picker_port=picker.port, endpoints=simulators.endpoints)
            )
        console.print(f"Envoy          {envoy.url}\n")
        yield Stage(simulators, picker, envoy)


class Exchange:
    """One request on its way: sent, its decision looked up, its answer perhaps still coming."""

    def __init__(self, request: DemoRequest, scene: Stage) -> None:
        self.request = request
        before = {decision["request_id"] for decision in scene.picker.decisions()}
        self._started = time.monotonic()
        self._connection = http.client.HTTPConnection("127.0.0.1", scene.envoy.port, timeout=30)
        headers = {"content-type": "application/json"}
        self._connection.request("POST", request.path, request.body, headers)
        self._response = self._connection.getresponse()
        new = [d for d in scene.picker.decisions() if d["request_id"] not in before]
        self._decision: dict[str, Any] | None = new[0] if new else None

    def outcome(self) -> Outcome:
        """Read the answer to its end."""
        with contextlib.closing(self._connection):
            answer = self._response.read()
        port = self._response.headers.get("x-inference-port", "")
        destination = self._decision["destination"] if self._decision else ""
        return Outcome(
            request=self.request,
            status=self._response.status,
            answer=answer,
            endpoint=f"127.0.0.1:{port}" if port else destination,
            milliseconds=(time.monotonic() - self._started) * 1000,
            decision=self._decision,
        )


def _address(endpoint: LabEndpoint) -> str:
    return f"{endpoint.address}:{endpoint.port}"


def table(outcomes: Sequence[Outcome], endpoints: Sequence[LabEndpoint]) -> Table:
    """Request, status, endpoint, the scores behind the pick, time."""
    names = {f"{e.namespace}/{e.name}": str(i) for i, e in enumerate(endpoints)}
    drawn = Table(
        title="who got each request, and why (scores per endpoint 0/1/2, weight in brackets)",
        title_justify="left",
    )
    for column in ("request", "status", "endpoint", "scores behind the pick"):
        drawn.add_column(column)
    drawn.add_column("ms", justify="right")
    for outcome in outcomes:
        colour = "green" if outcome.is_expected else "bold red"
        drawn.add_row(
            outcome.request.title,
            f"[{colour}]{outcome.status}[/]",
            _place(outcome, names),
            _reasons(outcome),
            f"{outcome.milliseconds:.0f}",
        )
    return drawn


def _place(outcome: Outcome, names: dict[str, str]) -> str:
    if outcome.decision is None:
        return "-"
    picked = outcome.decision["profiles"][0]["picked"][0]
    return f"{names.get(picked, '?')}  {outcome.endpoint}"


def _reasons(outcome: Outcome) -> str:
    if outcome.decision is None:
        return outcome.answer.decode("utf-8", "replace")[:70]
    profile = outcome.decision["profiles"][0]
    parts = [
        f"{_short(s['plugin'])}[dim]({s['weight']:g})[/] {_numbers(s['scores'])}"
        for s in profile["scorers"]
    ]
    return "  ".join([*parts, f"[bold]= {_numbers(profile['totals'])}[/]"])


def _short(plugin: str) -> str:
    return plugin.removesuffix("-scorer").removesuffix("-utilization").removesuffix("-cache")


def _numbers(scores: dict[str, float]) -> str:
    return "/".join(f"{scores[endpoint]:.2g}" for endpoint in sorted(scores))


def play(scene: Stage, console: Console) -> list[Outcome]:
    """Send the mix, drawing the table as it grows."""
    outcomes: list[Outcome] = []
    unfinished: list[Exchange] = []
    endpoints = scene.simulators.endpoints
    with Live(table(outcomes, endpoints), console=console, refresh_per_second=8) as live:
        for request in requests():
            exchange = Exchange(request, scene)
            if request.goes_on:
                unfinished.append(exchange)
            else:
                outcomes.append(exchange.outcome())
                live.update(table(outcomes, endpoints))
        for exchange in unfinished:
            outcomes.append(exchange.outcome())
            live.update(table(outcomes, endpoints))
    return outcomes


def epilogue(scene: Stage) -> str:
    """What to try next."""
    question = json.dumps({"model": ADAPTER, "prompt": QUESTION, "max_tokens": 100})
    return (
        "\nTry it yourself:\n"
        f"  curl -s -i {scene.envoy.url}/v1/completions -d '{question}'\n"
        f"  curl -s http://127.0.0.1:{scene.picker.ports.metrics}/debug/decisions?limit=1\n"
        f"  curl -s http://127.0.0.1:{scene.picker.ports.metrics}/metrics | grep inference_\n"
    )


def perform(console: Console, *, once: bool) -> int:
    """Start, play, and stay unless told otherwise; the exit status."""
    with (
        tempfile.TemporaryDirectory(prefix="epp-demo-") as folder,
        stage(Path(folder), console) as scene,
    ):
        outcomes = play(scene, console)
        wrong = [outcome for outcome in outcomes if not outcome.is_expected]
        console.print(f"{len(outcomes) - len(wrong)} of {len(outcomes)} requests ended as expected")
        for outcome in wrong:
            console.print(f"unexpected: {outcome.request.title}: {outcome.answer[:300]!r}")
        if not once:
            console.print(epilogue(scene), soft_wrap=True, markup=False)
            console.print("Ctrl-C ends it.")
            signal.pause()
    return 1 if wrong else 0


def main() -> int:
    """Run the demonstration; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit when the requests are through")
    once: bool = parser.parse_args().once
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return perform(console, once=once)
    except KeyboardInterrupt:
        console.print("stopped")
        return 0
    except (ProcessError, FileNotFoundError) as error:
        console.print(f"the demo cannot run: {error}", style="red", markup=False)
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
