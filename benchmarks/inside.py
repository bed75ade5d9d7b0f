"""What a request costs inside the picker, without a transport: ``python -m benchmarks.inside``.

CPU time of decoding the proxy's messages, deciding among ten endpoints with the default
configuration, and encoding the answers, with and without a log line. What ``python -m benchmarks``
shows beyond that is the transport, TLS and the kernel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random

import epp.plugins
from epp.config.load import DEFAULT_CONFIG, load_config
from epp.core.clock import Clock
from epp.core.decision import Decision
from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.plugin import Handle
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
from epp.saturation import SaturationDetector
from epp.telemetry import logs
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.requestlog import RequestLog
from epp.telemetry.tee import Probes

CHUNK = b'data: {"id":"x","choices":[{"index":0,"text":" word"}],"usage":null}\n\n'
ANSWER = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'


class Inside:
    """The parts of a picker between the wire and the wire."""

    def __init__(self) -> None:
        epp.plugins.load()
        self._clock = Clock()
        self._store = Datastore(self._clock)
        self._probe = Probes(MetricsProbe(self._store), DecisionLog(self._clock), RequestLog())
        random = Random(1)
        handle = Handle(random=random, clock=self._clock, probe=self._probe)
        config = load_config(DEFAULT_CONFIG, "default", handle)
        for i in range(10):
            name = f"e{i}"
            self._store.put_endpoint(Endpoint(f"default/{name}", name, "default", "10.0.0.1", i))
            metrics = EndpointMetrics(waiting_queue_size=i, kv_cache_ratio=i / 10, updated_at=0.0)
            self._store.scrape_succeeded(f"default/{name}", metrics)
        self._director = Director(
            parser=OpenAIParser(),
            scheduler=config.scheduler,
            datastore=self._store,
            pre_request=config.pre_request,
            saturation=SaturationDetector(config.saturation, self._clock),
            probe=self._probe,
            random=random,
        )

    def stream(self) -> tuple[Stream, Relay]:
        """A new stream with its exchange, and its short way."""
        stream = Stream(Exchange(clock=self._clock, probe=self._probe, datastore=self._store))
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
    """What Envoy sends for a request and its answer."""
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
    """The message with the metadata that a proxy adds: from the answer on, who serves."""
    message.metadata_context.SetInParent()
    if (message.WhichOneof("request") or "").startswith("response"):
        fields = message.metadata_context.filter_metadata["envoy.lb"].fields
        fields["x-gateway-destination-endpoint"].string_value = "10.0.0.1:3"
        fields["x-gateway-destination-endpoint-served"].string_value = "10.0.0.1:3"
    return message.SerializeToString()


def microseconds(work: Callable[[], None], count: int) -> float:
    """CPU time per call, the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(count):
            work()
        best = min(best, (time.process_time() - started) / count)
    return best * 1e6


def main() -> None:
    """Print a line per case."""
    inside = Inside()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for verbosity in (1, 4):
            logs.setup(verbosity=verbosity, stream=nowhere)
            print(
                f"small request with --v {verbosity}: {request_cost(inside, completion, 50):.0f} us"
            )
    logs.setup(verbosity=1)
    for size in (8_000, 400_000):
        print(f"prompt of {size:,} bytes: {request_cost(inside, completion, size):.0f} us")
        print(f"chat of {size:,} bytes: {request_cost(inside, chat, size):.0f} us")
    print(f"streamed chunk: {chunk_cost(inside):.2f} us")


def request_cost(inside: Inside, body: Callable[[str], bytes], size: int) -> float:
    """Microseconds of a request with a prompt of so many bytes."""
    parts = messages(body("word " * (size // 5)))
    return microseconds(lambda: inside.request(parts), 200 if size > 100_000 else 2000)


def chunk_cost(inside: Inside) -> float:
    """Microseconds of a chunk in the middle of a streamed answer."""
    stream, relay = inside.stream()
    for message in messages(completion("word"))[:3]:
        inside.feed(stream, relay, message)
    kind = pb.HeaderValue(key="content-type", raw_value=b"text/event-stream")
    started = pb.HttpHeaders(headers=pb.HeaderMap(headers=[kind]))
    first = pb.ProcessingRequest(response_headers=started)
    chunk = pb.ProcessingRequest(response_body=pb.HttpBody(body=CHUNK))
    inside.feed(stream, relay, as_sent(first))
    data = as_sent(chunk)
    return microseconds(lambda: inside.feed(stream, relay, data), 20_000)


if __name__ == "__main__":
    main()
