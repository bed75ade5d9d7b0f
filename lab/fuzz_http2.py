"""Our HTTP/2 against another implementation, and against noise: ``python -m lab.fuzz_http2``.

Two kinds of rounds, each from its own seed, without sockets. *Conversations*: the client is
hyper-h2, joined to our ``Connection`` by two queues of bytes that are cut and delayed at random,
with random windows, messages, resets, early ends, deadlines, pings and settings; every message must
arrive whole and in order both ways, nobody may complain, and nothing may be left behind. *Noise*:
the bytes of a conversation with some of them changed, left out or repeated, to a server that
drains, stops and waits for its socket in between; whatever comes of it, nothing raises, little is
kept, and every call ends once. In both, every frame of ours is audited.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from random import Random

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from epp.http2.connection import Connection
from epp.http2.limits import Limits
from epp.rpc import Call, Message, Status
from lab.http2_audit import Audit

PATH = "/fuzz.Service/Echo"
MAX_STREAMS = 8
MAX_STEPS = 4000
LIMITS = Limits(
    stream_window_bytes=70_000,
    connection_window_bytes=90_000,
    max_unsent_bytes=20_000,
    max_unsent_total_bytes=50_000,
)
MOST_QUEUED_BYTES = LIMITS.max_unsent_total_bytes + LIMITS.connection_window_bytes + 16_384
"""From the limit on, nothing more is allowed than what already was."""


class FuzzError(Exception):
    """Something went wrong; the text says what, and in which round."""


class EchoHandler:
    """Sends messages back, some of them in parts, some only at the end; or has enough of them."""

    def __init__(self, call: Call, random: Random) -> None:
        self._call = call
        self._random = random
        self._later: list[bytes] = []
        self._enough = random.choice((0, 1, 2)) if random.random() < 0.15 else None
        self.received: list[bytes] = []
        self.endings = 0

    def message(self, data: Message) -> None:
        text = bytes(data)
        if self.endings:
            raise FuzzError("a message comes after the end")
        self.received.append(text)
        if len(self.received) == self._enough:
            self._call.finish(Status.ABORTED, "enough")
        elif self._later or self._random.random() < 0.3:
            self._later.append(text)
        else:
            self._send(text)

    def half_closed(self) -> None:
        for text in self._later:
            self._send(text)
        self._call.finish()

    def ended(self) -> None:
        self.endings += 1

    def _send(self, text: bytes) -> None:
        if self._random.random() < 0.3:
            cut = self._random.randint(0, len(text))
            self._call.send_parts([text[:cut], memoryview(text)[cut:]])
        else:
            self._call.send(text)


class Ours:
    """Our connection with its handlers; what it writes comes together in ``out``.

    ``deadlines`` are those that run.
    """

    def __init__(self, random: Random, limits: Limits) -> None:
        self.handlers: list[EchoHandler] = []
        self.deadlines: list[Callable[[], None]] = []
        self.out = bytearray()
        self._audit = Audit()

        def service(call: Call) -> EchoHandler:
            self.handlers.append(EchoHandler(call, random))
            return self.handlers[-1]

        self.connection = Connection(
            {PATH: service},
            limits,
            write=self._write,
            wake=lambda: None,
            call_later=self._call_later,
        )
        self.connection.flush()

    def expire(self, random: Random) -> None:
        """Let time be up for one of the calls."""
        if self.deadlines:
            random.choice(self.deadlines)()

    def _write(self, data: bytes) -> None:
        self._audit.take(data)
        self.out += data

    def _call_later(self, _seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        self.deadlines.append(call)
        return lambda: self.deadlines.remove(call)


class ClientStream:
    """One call from the client's side."""

    def __init__(self, random: Random) -> None:
        sizes = [random.choice((0, 1, 5, 300, 5_000, 60_000, 200_000)) for _ in range(3)]
        self.messages = [random.randbytes(size) for size in sizes[: random.randint(0, 3)]]
        self.unsent = b"".join(
            b"\0" + len(text).to_bytes(4, "big") + text for text in self.messages
        )
        self.received = bytearray()
        self.status = b""
        self.is_sent = self.is_reset = self.is_ended = False


class Conversation:
    """hyper-h2 as client, our connection as server."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._ours = Ours(self._random, LIMITS)
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._theirs = h2.connection.H2Connection(config)
        self._theirs.initiate_connection()
        self._to_us = bytearray()
        self._to_them = bytearray()
        self._streams: dict[int, ClientStream] = {}
        self._awaits_settings = True  # the first ones

    def run(self) -> int:
        """Until every stream has ended; the number of streams."""
        wanted = self._random.randint(1, MAX_STREAMS)
        for _ in range(MAX_STEPS):
            self._act(wanted)
            self._deliver()
            if len(self._streams) == wanted and all(s.is_ended for s in self._streams.values()):
                break
        else:
            raise FuzzError(f"not ended after {MAX_STEPS} steps: {self._unended()}")
        self._settle()
        self._check()
        return wanted

    def _act(self, wanted: int) -> None:
        random = self._random
        if len(self._streams) < wanted and random.random() < 0.3:
            self._open()
        for stream_id, stream in self._streams.items():
            if not stream.is_sent and not stream.is_ended:
                self._send(stream_id, stream)
        if random.random() < 0.02:
            self._theirs.ping(random.randbytes(8))
        if random.random() < 0.03 and not self._awaits_settings:
            self._change_settings()
        if random.random() < 0.01:
            self._reset()
        if random.random() < 0.005:
            self._ours.expire(random)
        if random.random() < 0.05:
            connection = self._ours.connection
            connection.pause() if random.random() < 0.3 else connection.resume()
        self._to_us += self._theirs.data_to_send()

    def _open(self) -> None:
        stream_id = self._theirs.get_next_available_stream_id()
        self._theirs.send_headers(
            stream_id,
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", PATH.encode()),
                (b":authority", b"fuzz"),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
                (b"x-trace", self._random.randbytes(8).hex().encode()),
                *([(b"grpc-timeout", b"1S")] if self._random.random() < 0.3 else []),
            ],
        )
        self._streams[stream_id] = ClientStream(self._random)

    def _send(self, stream_id: int, stream: ClientStream) -> None:
        random, theirs = self._random, self._theirs
        room = min(theirs.local_flow_control_window(stream_id), theirs.max_outbound_frame_size)
        padding = random.randint(0, 50) if random.random() < 0.1 else None
        size = min(room - 60, len(stream.unsent), random.choice((1, 7, 1_000, 16_000)))
        if size > 0:
            theirs.send_data(stream_id, stream.unsent[:size], pad_length=padding)
            stream.unsent = stream.unsent[size:]
        if not stream.unsent:
            stream.is_sent = True
            if random.random() < 0.2:
                theirs.send_headers(stream_id, [(b"x-trailer", b"1")], end_stream=True)
            else:
                theirs.end_stream(stream_id)

    def _change_settings(self) -> None:
        """One change at a time: hyper-h2 takes an answer for that to everything it has sent.

        Frame sizes stay: it judges what comes together with an answer by the size before it.
        """
        codes = h2.settings.SettingCodes
        code, value = self._random.choice(
            (
                (codes.INITIAL_WINDOW_SIZE, 1_000),
                (codes.INITIAL_WINDOW_SIZE, 65_535),
                (codes.INITIAL_WINDOW_SIZE, 200_000),
                (codes.HEADER_TABLE_SIZE, 0),
                (codes.HEADER_TABLE_SIZE, 4_096),
            )
        )
        self._theirs.update_settings({code: value})
        self._awaits_settings = True

    def _reset(self) -> None:
        alive = [key for key, stream in self._streams.items() if not stream.is_ended]
        if alive:
            stream_id = self._random.choice(alive)
            self._theirs.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            self._streams[stream_id].is_ended = self._streams[stream_id].is_reset = True

    def _deliver(self) -> None:
        """Some of the bytes on their way, cut anywhere."""
        random = self._random
        size = random.choice((1, 9, 100, 3_000, 100_000))
        self._ours.connection.receive(bytes(self._to_us[:size]))
        del self._to_us[:size]
        self._ours.connection.flush()
        if self._ours.connection.is_dead:
            raise FuzzError(f"our side gave up: {self._ours.connection.failure}")
        size = random.choice((1, 9, 100, 3_000, 100_000))
        self._to_them += self._ours.out
        self._ours.out.clear()
        data = bytes(self._to_them[:size])
        del self._to_them[:size]
        try:
            events = self._theirs.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise FuzzError(f"hyper-h2 complains: {error!r}") from error
        for event in events:
            self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.ConnectionTerminated):
            raise FuzzError(f"GOAWAY: {event.error_code!r} {event.additional_data!r}")
        if isinstance(event, h2.events.SettingsAcknowledged):
            self._awaits_settings = False
        if stream is None:
            return
        if isinstance(event, h2.events.DataReceived):
            stream.received += event.data
            self._theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
            stream.status = dict(event.headers).get(b"grpc-status", stream.status)
        elif isinstance(event, h2.events.StreamEnded):
            stream.is_ended = True
        elif isinstance(event, h2.events.StreamReset) and not (
            stream.is_ended and event.error_code == h2.errors.ErrorCodes.NO_ERROR
        ):
            raise FuzzError(f"our side reset stream {event.stream_id}: {event.error_code!r}")

    def _settle(self) -> None:
        """Everything that is still on its way."""
        self._ours.connection.resume()
        for _ in range(20):
            self._to_us += self._theirs.data_to_send()
            self._ours.connection.receive(bytes(self._to_us))
            self._to_us.clear()
            self._to_them += self._ours.out
            self._ours.out.clear()
            for event in self._theirs.receive_data(bytes(self._to_them)):
                self._take(event)
            self._to_them.clear()

    def _check(self) -> None:
        connection = self._ours.connection
        if len(self._ours.handlers) != len(self._streams):
            raise FuzzError(f"{len(self._ours.handlers)} calls of {len(self._streams)}")
        for handler, stream in zip(self._ours.handlers, self._streams.values(), strict=True):
            if handler.endings != 1:
                raise FuzzError(f"a handler ended {handler.endings} times")
            if not stream.is_reset:
                _check_messages(handler, stream)
        left = (connection.streams, connection.partial_bytes, connection.sender.queued_bytes)
        if any(left):
            raise FuzzError(f"left behind (streams, partial, queued): {left}")

    def _unended(self) -> list[tuple[int, int, bool]]:
        return [(k, len(s.unsent), s.is_sent) for k, s in self._streams.items() if not s.is_ended]


def _check_messages(handler: EchoHandler, stream: ClientStream) -> None:
    """All of them both ways; the first of them where the call ended early."""
    known = stream.messages
    if stream.status != b"0":
        if stream.status not in (b"4", b"10"):  # a deadline, and who has had enough
            raise FuzzError(f"a call ended with status {stream.status!r}")
        known = known[: len(handler.received)]
    if handler.received != known:
        raise FuzzError("messages were changed on their way to us")
    sent = b"".join(b"\0" + len(m).to_bytes(4, "big") + m for m in known)
    is_whole = len(stream.received) == len(sent) or stream.status != b"0"
    if not sent.startswith(bytes(stream.received)) or not is_whole:
        raise FuzzError("messages were changed on their way back")


def noise(seed: int) -> None:
    """A conversation's bytes, damaged.

    Raises:
        FuzzError: a call did not end exactly once, or too much is kept.
    """
    random = Random(seed)
    recorder = Conversation(random.getrandbits(32))
    for _ in range(40):
        recorder._act(4)
    data = bytearray(recorder._to_us)
    for _ in range(random.randint(1, 12)):
        at = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                del data[at : at + random.randint(1, 30)]
            case 2:
                data[at:at] = random.randbytes(random.randint(1, 30))
            case _:
                data[at:at] = data[at : at + random.randint(9, 200)]
    ours = Ours(random, LIMITS)
    while data:
        size = random.choice((1, 50, 5_000))
        ours.connection.receive(bytes(data[:size]))
        ours.connection.flush()
        del data[:size]
        _meddle(ours, random)
        if ours.connection.sender.queued_bytes > MOST_QUEUED_BYTES:
            raise FuzzError("too much is queued")
    ours.connection.lost()
    if any(handler.endings != 1 for handler in ours.handlers):
        raise FuzzError("a call did not end exactly once")
    if ours.connection.streams or ours.connection.partial_bytes:
        raise FuzzError("something is left of a lost connection")


def _meddle(ours: Ours, random: Random) -> None:
    """Something that a server's owner does, now and then."""
    connection = ours.connection
    match random.randrange(60):
        case 0:
            connection.drain()
        case 1:
            connection.finish_all(Status.UNAVAILABLE, "stopping")
        case 2 | 3:
            ours.expire(random)
        case 4 | 5:
            connection.pause()
        case 6 | 7:
            connection.resume()
        case 8:
            connection.ping()


def campaign(
    seed: int, *, seconds: float = 60.0, rounds: int | None = None
) -> tuple[int, int, int]:
    """Rounds of both kinds until time or their number is up: conversations, streams, noise.

    Raises:
        FuzzError: with the seed that shows it.
    """
    random = Random(seed)
    deadline = time.monotonic() + seconds
    conversations = streams = damaged = 0
    while time.monotonic() < deadline and (rounds is None or conversations < rounds):
        round_seed = random.getrandbits(48)
        try:
            streams += Conversation(round_seed).run()
            conversations += 1
            for extra in range(5):
                noise(round_seed + extra)
                damaged += 1
        except Exception as error:
            raise FuzzError(f"round {round_seed}: {error}") from error
    return conversations, streams, damaged


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.fuzz_http2", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        counts = campaign(arguments.seed, seconds=arguments.seconds)
    except FuzzError as error:
        print(error, file=sys.stderr)
        return 1
    print("{} conversations with {} streams, {} rounds of noise: nothing found".format(*counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
