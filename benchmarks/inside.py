"""What the picker's own code costs, without a transport: ``python -m benchmarks.inside``.

CPU time of decoding the proxy's messages, deciding among ten endpoints with the default
configuration, and encoding the answers; of reading a metrics page; of one scheduling cycle. What
``python -m benchmarks`` shows beyond that is gRPC, TLS and the kernel.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import epp.plugins
from benchmarks.calibration import Calibration, bulk, interpreter
from benchmarks.page import MetricsPage
from epp.config.load import DEFAULT_CONFIG, load_config
from epp.core.clock import Clock
from epp.core.decision import Decision
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.engine import Engine
from epp.core.plugin import Handle
from epp.core.request import InferenceRequest, RequestBody
from epp.datastore.store import Datastore
from epp.director import Director
from epp.exchange import Exchange
from epp.extproc import codec
from epp.extproc.events import Decide, End
from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.relay import Relay
from epp.extproc.stepping import start
from epp.extproc.stream import Stream
from epp.plugins.parsers.openai import OpenAIParser
from epp.scrape.extract import MetricsReader
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.tee import Probes

CHUNK = b'data: {"id":"x","choices":[{"index":0,"text":" word"}],"usage":null}\n\n'
ANSWER = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'


class Inside:
    """The parts of a picker between the wire and the wire."""

    def __init__(self, endpoints: int = 10) -> None:
        epp.plugins.load()
        self._clock = Clock()
        self.store = Datastore(self._clock)
        self._probe = Probes(MetricsProbe(self.store), DecisionLog(self._clock))
        random = Random(1)
        handle = Handle(random=random, clock=self._clock, probe=self._probe)
        config = load_config(DEFAULT_CONFIG, "default", handle)
        self.scheduler = config.scheduler
        for i in range(endpoints):
            name = f"e{i}"
            self.store.put_endpoint(Endpoint(f"default/{name}", name, "default", "10.0.0.1", i))
            metrics = EndpointMetrics(
                waiting_queue_size=i % 10, kv_cache_ratio=i % 10 / 10, updated_at=0.0
            )
            self.store.scrape_succeeded(f"default/{name}", metrics)
        self._director = Director(
            parser=OpenAIParser(),
            scheduler=config.scheduler,
            datastore=self.store,
            pre_request=config.pre_request,
            saturation=config.saturation,
            probe=self._probe,
            random=random,
        )

    def stream(self) -> tuple[Stream, Relay]:
        """A new stream with its exchange, and its short way."""
        stream = Stream(Exchange(clock=self._clock, probe=self._probe, datastore=self.store))
        return stream, Relay(stream)

    def feed(self, stream: Stream, relay: Relay, message: bytes) -> None:
        """Decode, decide where that is due, and encode every answer."""
        if relay.answer(message) is not None:
            return
        for output in stream.receive(codec.decode(message)):
            if isinstance(output, Decide):
                decision = start(self._director.decide(stream.exchange, output.request))
                assert isinstance(decision, Decision)
                for answer in stream.decided(decision):
                    assert not isinstance(answer, Decide | End)
                    codec.encode(answer)
            elif not isinstance(output, End):
                codec.encode(output)

    def request(self, messages: list[bytes]) -> None:
        """One request from its headers to the end of its answer."""
        stream, relay = self.stream()
        for message in messages:
            self.feed(stream, relay, message)
        stream.closed()


def completion(prompt: str) -> bytes:
    """A body with a prompt."""
    return b'{"model":"m","prompt":"' + prompt.encode() + b'"}'


def chat(prompt: str) -> bytes:
    """A body with a message."""
    return b'{"model":"m","messages":[{"role":"user","content":"' + prompt.encode() + b'"}]}'


def messages(body: bytes) -> list[bytes]:
    """What Envoy sends for a request with this body, and for its answer."""
    names = (
        ":authority :path :method :scheme user-agent accept content-type x-forwarded-for x-a x-b"
    )
    names += " x-forwarded-proto x-request-id"
    values = [pb.HeaderValue(key=name, raw_value=b"some value") for name in names.split()]
    headers = pb.HeaderMap(headers=values)
    mode = pb.ProtocolConfiguration(request_body_mode=pb.FULL_DUPLEX_STREAMED)
    parts = [
        pb.ProcessingRequest(request_headers=pb.HttpHeaders(headers=headers), protocol_config=mode),
        pb.ProcessingRequest(request_body=pb.HttpBody(body=body)),
        pb.ProcessingRequest(request_body=pb.HttpBody(end_of_stream=True)),
        pb.ProcessingRequest(response_headers=pb.HttpHeaders(headers=headers)),
        pb.ProcessingRequest(response_body=pb.HttpBody(body=ANSWER)),
        pb.ProcessingRequest(response_body=pb.HttpBody(end_of_stream=True)),
    ]
    return [as_sent(part) for part in parts]


def as_sent(message: pb.ProcessingRequest) -> bytes:
    """The message with the metadata that Envoy adds: from the answer on, who serves."""
    message.metadata_context.SetInParent()
    if (message.WhichOneof("request") or "").startswith("response"):
        fields = message.metadata_context.filter_metadata["envoy.lb"].fields
        fields["x-gateway-destination-endpoint"].string_value = "10.0.0.1:3"
        fields["x-gateway-destination-endpoint-served"].string_value = "10.0.0.1:3"
    return message.SerializeToString()


class Work(NamedTuple):
    """A piece of the picker's work, to be called any number of times.

    ``calibration`` is the work of the same kind that its cost is compared with.
    """

    name: str
    run: Callable[[], None]
    calibration: Calibration = interpreter


def works() -> list[Work]:
    """Everything that is timed without a transport; ``python -m benchmarks.check`` watches it."""
    inside = Inside()
    prompts = ["word " * (size // 5) for size in (50, 8_000, 400_000)]
    small, medium, long = (messages(completion(prompt)) for prompt in prompts)
    long_chat = messages(chat(prompts[-1]))
    return [
        Work("small request", lambda: inside.request(small)),
        Work("8 kB prompt", lambda: inside.request(medium)),
        Work("400 kB prompt", lambda: inside.request(long), bulk),
        Work("400 kB chat", lambda: inside.request(long_chat), bulk),
        Work("streamed chunk", _chunk(inside)),
        Work("metrics page", _page()),
        Work("scheduling cycle, 100 endpoints", _cycle(Inside(endpoints=100))),
    ]


def _chunk(inside: Inside) -> Callable[[], None]:
    stream, relay = inside.stream()
    for message in messages(completion("word"))[:3]:  # so that its tokens are counted
        inside.feed(stream, relay, message)
    kind = pb.HeaderValue(key="content-type", raw_value=b"text/event-stream")
    started = pb.HttpHeaders(headers=pb.HeaderMap(headers=[kind]))
    inside.feed(stream, relay, as_sent(pb.ProcessingRequest(response_headers=started)))
    chunk = as_sent(pb.ProcessingRequest(response_body=pb.HttpBody(body=CHUNK)))
    return lambda: inside.feed(stream, relay, chunk)


def _page() -> Callable[[], None]:
    """Pages of one endpoint in turn, as no two are alike."""
    page, reader = MetricsPage(seed=1), MetricsReader(Engine())
    pages = itertools.cycle([page.read() for _ in range(50)])
    before = EndpointMetrics()

    def run() -> None:
        assert reader.extract(next(pages), before, 0.0) is not None

    return run


def _cycle(inside: Inside) -> Callable[[], None]:
    body = RequestBody(model="m", prompt="hello")
    endpoints = inside.store.candidates()
    numbers = itertools.count()

    def run() -> None:
        request = InferenceRequest(
            request_id=str(next(numbers)),
            headers={},
            body=body,
            incoming_model="m",
            target_model="m",
        )
        inside.scheduler.schedule(request, endpoints)

    return run


def microseconds(run: Callable[[], None], *, seconds: float) -> float:
    """CPU time per call, the best of three rounds of so many seconds."""
    count, best = 1, float("inf")
    for _ in range(3):
        calls, started = 0, time.process_time()
        while (spent := time.process_time() - started) < seconds:
            for _ in range(count):
                run()
            calls += count
            count = min(count * 2, 1000)
        best = min(best, spent / calls)
    return best * 1e6


def main() -> None:
    """Print a line per piece."""
    for work in works():
        print(f"{work.name}: {microseconds(work.run, seconds=0.3):.1f} us")


if __name__ == "__main__":
    main()
