"""A gRPC server of ours for other people's test tools: ``python -m lab.grpc_server --port P``.

Serves the calls of gRPC's interoperability tests, and an echo at ``/echo``.

Source: gRPC interoperability test case descriptions.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import cast

import uvloop

from epp.http2.limits import Limits
from epp.http2.server import Server
from epp.http2.stream import Stream
from epp.rpc import Call, Message
from epp.tls.certificates import make_self_signed
from epp.tls.contexts import server_context
from lab.pb import interop_pb2 as pb

_SERVICE = "/grpc.testing.TestService"
_INITIAL = b"x-grpc-test-echo-initial"
_TRAILING = b"x-grpc-test-echo-trailing-bin"


class Echo:
    """Sends every message back."""

    def __init__(self, call: Call) -> None:
        # of our own transport, which can send metadata
        self.call = cast(Stream, call)

    def message(self, data: Message) -> None:
        self.call.send(data)

    def half_closed(self) -> None:
        self.finish()

    def ended(self) -> None:
        """Nothing is kept."""

    def begin(self) -> None:
        """Send back the metadata that the client wants back."""
        if _INITIAL in self.call.metadata:
            self.call.send_metadata([(_INITIAL, self.call.metadata[_INITIAL])])

    def finish(self, status: pb.EchoStatus | None = None) -> None:
        """End the call, with the trailers and the status that the client wants."""
        value = self.call.metadata.get(_TRAILING)
        trailers = [(_TRAILING, value)] if value is not None else []
        if status is None:
            self.call.finish(trailers=trailers)
        else:
            self.call.finish(status.code, status.message, trailers)


class EmptyCall(Echo):
    """One empty message for another."""

    def message(self, data: Message) -> None:
        super().message(b"")
        self.finish()


class UnaryCall(Echo):
    """One answer of the size that was asked for."""

    def message(self, data: Message) -> None:
        self.begin()
        request = pb.SimpleRequest.FromString(bytes(data))
        if request.HasField("response_status") and request.response_status.code:
            self.finish(request.response_status)
            return
        payload = pb.Payload(body=bytes(request.response_size))
        self.call.send(pb.SimpleResponse(payload=payload).SerializeToString())
        self.finish()


class StreamingInputCall(Echo):
    """Adds up what comes in."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._size = 0

    def message(self, data: Message) -> None:
        request = pb.StreamingInputCallRequest.FromString(bytes(data))
        self._size += len(request.payload.body)

    def half_closed(self) -> None:
        answer = pb.StreamingInputCallResponse(aggregated_payload_size=self._size)
        self.call.send(answer.SerializeToString())
        self.finish()


class StreamingOutputCall(Echo):
    """Answers of the sizes that were asked for; full-duplex calls are the same, many times."""

    def message(self, data: Message) -> None:
        self.begin()
        request = pb.StreamingOutputCallRequest.FromString(bytes(data))
        if request.HasField("response_status") and request.response_status.code:
            self.finish(request.response_status)
            return
        for answer in _answers(request.response_parameters):
            self.call.send(answer)


def _answers(wanted: Iterable[pb.ResponseParameters]) -> Iterable[bytes]:
    for parameters in wanted:
        payload = pb.Payload(body=bytes(parameters.size))
        yield pb.StreamingOutputCallResponse(payload=payload).SerializeToString()


SERVICES: dict[str, Callable[[Call], Echo]] = {
    "/echo": Echo,
    f"{_SERVICE}/EmptyCall": EmptyCall,
    f"{_SERVICE}/UnaryCall": UnaryCall,
    f"{_SERVICE}/StreamingInputCall": StreamingInputCall,
    f"{_SERVICE}/StreamingOutputCall": StreamingOutputCall,
    f"{_SERVICE}/FullDuplexCall": StreamingOutputCall,
}


async def serve(port: int, *, tls: bool) -> None:
    """Serve on 127.0.0.1 until cancelled."""
    context = server_context(make_self_signed()) if tls else None
    server = Server(SERVICES, Limits(), random=Random(), tls=context)
    await server.start("127.0.0.1", port)
    await asyncio.Event().wait()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.grpc_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.port, tls=arguments.tls))


if __name__ == "__main__":
    main()
