"""The short way of a streamed chunk: from the bytes of a message to the bytes of its answer."""

from __future__ import annotations

from epp.extproc import usual
from epp.extproc.stream import Stream
from epp.rpc import Message


class Relay:
    """Answers the chunks of one stream without making events of them.

    A chunk's message is a head that its size settles, the data, and the metadata that ended the
    last message too. Saves the event, the answer and their dispatch: 1.0 us instead of 2.0 us.
    """

    __slots__ = ("_exchange", "_rest", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._exchange = stream.exchange
        self._rest = b""

    def answer(self, data: Message) -> bytes | None:
        """The only answer that is due after this message; None when it has to go the long way.

        The long way is ``codec.decode``, ``Stream.receive`` and ``codec.encode``; it must be taken
        for everything but a piece of the model server's body that is not its last, and nothing has
        happened yet when this says so.
        """
        if not self._stream.is_answering:
            return None
        if not data.endswith(self._rest) or not self._rest:
            rest = usual.rest_of(data)
            if rest is None:
                return None
            self._rest = rest
        end = len(data) - len(self._rest)
        heads = usual.piece_heads(end)
        if heads is None or not data.startswith(heads[0]):
            return None
        head, answer_head = heads
        piece = data[len(head) : end]
        self._exchange.response_chunk(piece)
        return answer_head + piece
