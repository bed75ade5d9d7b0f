from __future__ import annotations

from epp.http2 import frames
from epp.http2.frames import ErrorCode, Setting
from epp.http2.limits import Limits
from tests.http2.wire import Peer, data, message, ping


def test_settings_are_acknowledged_and_followed() -> None:
    peer = Peer()
    peer.send(frames.settings([(Setting.MAX_FRAME_SIZE, 20_000), (Setting(3), 1)]))
    (answer,) = peer.frames()
    assert (answer.kind, answer.flags) == (frames.SETTINGS, frames.ACK)
    peer.open(1).call.send(b"x" * 30_000)
    assert max(peer.answers().sizes) == 20_000


def test_a_peer_is_ready_when_it_has_acknowledged_our_settings() -> None:
    peer = Peer(greet=False)
    peer.send(frames.PREFACE, frames.settings(()))
    assert not peer.connection.is_ready
    peer.send(frames.frame(frames.SETTINGS, frames.ACK, 0))
    assert peer.connection.is_ready


def test_pings_in_return_for_data_are_free() -> None:
    peer = Peer(Limits(max_strikes=5), on_message=None)
    peer.open(1)
    for _ in range(100):
        peer.send(data(1, message(b"x")), ping())
    assert not peer.connection.is_dead
    for _ in range(6):
        peer.send(ping())
    assert peer.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_settings_that_would_touch_every_stream_a_thousand_times_are_refused_first() -> None:
    peer = Peer()
    for stream_id in range(1, 201, 2):
        peer.open(stream_id)
    peer.frames()
    toggles = [(Setting.INITIAL_WINDOW_SIZE, size) for size in (1, 2)] * 1000
    peer.send(frames.settings(toggles))
    assert peer.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_a_ping_answer_that_nobody_asked_for_changes_nothing() -> None:
    peer = Peer()
    peer.send(ping(b"drainnow", ack=True))
    assert peer.frames() == []
    assert not peer.connection.is_done
