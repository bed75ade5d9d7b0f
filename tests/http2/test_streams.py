from __future__ import annotations

import pytest

from epp.http2.frames import ErrorCode, Http2Error
from epp.http2.sender import Sender
from epp.http2.streams import Ended, Streams


def streams(written: list[bytes] | None = None, max_strikes: int = 100) -> Streams:
    out = written if written is not None else []
    return Streams(Sender(out.append, lambda: None), max_strikes)


def test_how_a_stream_ended_is_remembered_for_a_thousand_more() -> None:
    table = streams()
    table.remember(1, Ended.BY_PEER)
    for stream_id in range(3, 1001, 2):
        table.remember(stream_id, Ended.IN_ORDER)
    assert table.how_ended(1) is Ended.BY_PEER
    for stream_id in range(1001, 9001, 2):
        table.remember(stream_id, Ended.IN_ORDER)
    assert table.how_ended(1) is None
    assert table.how_ended(8999) is Ended.IN_ORDER


@pytest.mark.parametrize("stream_id", [0, 4, 7])
def test_a_stream_that_was_never_opened_is_idle(stream_id: int) -> None:
    table = streams()
    table.last_id = 5
    table.check_used(5, "DATA")
    with pytest.raises(Http2Error, match="DATA on an idle stream"):
        table.check_used(stream_id, "DATA")


def test_what_cannot_be_reset_is_an_error_of_the_connection() -> None:
    written: list[bytes] = []
    table = streams(written)
    with pytest.raises(Http2Error) as raised:
        table.reset(9, ErrorCode.FRAME_SIZE_ERROR)
    assert raised.value.code is ErrorCode.FRAME_SIZE_ERROR
    assert table.how_ended(9) is None


def test_resets_that_the_peer_causes_are_counted() -> None:
    table = streams(max_strikes=3)
    table.last_id = 7
    for stream_id in (1, 3, 5):
        table.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
    with pytest.raises(Http2Error) as raised:
        table.reset(7, ErrorCode.PROTOCOL_ERROR)
    assert raised.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert table.how_ended(7) is Ended.BY_US
