from __future__ import annotations

import pytest

from epp.http2 import frames
from epp.http2.frames import ErrorCode
from lab.http2_audit import Audit, AuditError

SETTINGS = frames.settings(())
HEADERS = frames.header_block(1, b"block", end=False)
TRAILERS = frames.header_block(1, b"block", end=True)
DATA = frames.frame(frames.DATA, 0, 1, b"x")
RESET = frames.rst_stream(1, ErrorCode.NO_ERROR)
DRAIN = frames.goaway(frames.MAX_WINDOW, ErrorCode.NO_ERROR)


def test_a_whole_answer_is_good() -> None:
    audit = Audit()
    long_block = frames.header_block(3, b"x" * 40_000, end=False)
    for data in (SETTINGS, HEADERS, DATA + DATA, frames.window_update(1, 5), TRAILERS, RESET):
        audit.take(data)
    audit.take(long_block + frames.frame(frames.DATA, frames.END_STREAM, 3))
    audit.take(DRAIN + frames.goaway(3, ErrorCode.NO_ERROR))
    audit.take(frames.goaway(3, ErrorCode.PROTOCOL_ERROR))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ([HEADERS], "SETTINGS must come first"),
        ([SETTINGS[:5]], "head is cut"),
        ([SETTINGS, DATA[:-1]], "a frame is cut"),
        ([SETTINGS, DATA], "DATA comes before HEADERS"),
        ([SETTINGS, HEADERS, HEADERS], "trailers do not end"),
        ([SETTINGS, TRAILERS, DATA], "more for stream 1, which is over"),
        ([SETTINGS, HEADERS, RESET, TRAILERS], "more for stream 1, which is over"),
        ([SETTINGS, HEADERS, RESET, frames.window_update(1, 1)], "a window for stream 1"),
        ([SETTINGS, frames.window_update(0, 0)], "grows by nothing"),
        ([SETTINGS, frames.frame(frames.HEADERS, 0, 1) + DATA], "only CONTINUATION"),
        ([SETTINGS, frames.frame(frames.CONTINUATION, 0, 1)], "only CONTINUATION"),
        ([SETTINGS, frames.frame(frames.HEADERS, 4, 2)], "odd number"),
        ([SETTINGS, frames.frame(frames.PUSH_PROMISE, 4, 1)], "does not send frames of type 5"),
        ([SETTINGS, frames.goaway(1, ErrorCode.CANCEL), RESET], "follows the GOAWAY"),
        ([SETTINGS, frames.goaway(1, ErrorCode.NO_ERROR), DRAIN], "takes back"),
        ([SETTINGS, frames.frame(frames.PING, 0, 1, b"12345678")], "is on a stream"),
    ],
)
def test_what_must_not_be_sent_is_found(written: list[bytes], why: str) -> None:
    *before, wrong = written
    audit = Audit()
    for data in before:
        audit.take(data)
    with pytest.raises(AuditError, match=why):
        audit.take(wrong)
