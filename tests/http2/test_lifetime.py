from __future__ import annotations

from epp.http2.lifetime import Action, Lifetime
from epp.http2.limits import Limits

LIMITS = Limits(
    handshake_seconds=10,
    keepalive_seconds=60,
    keepalive_timeout_seconds=20,
    idle_seconds=300,
    max_age_seconds=1000,
    max_age_grace_seconds=50,
)


def check(
    lifetime: Lifetime, now: float, *, heard: bool = False, ready: bool = True, streams: int = 0
) -> Action | None:
    return lifetime.check(now, heard=heard, is_ready=ready, streams=streams)


def test_a_handshake_has_its_time() -> None:
    lifetime = Lifetime(LIMITS, 0.0)
    assert check(lifetime, 9.9, heard=True, ready=False) is None
    assert check(lifetime, 10.0, heard=True, ready=False) is Action.REFUSE


def test_silence_is_asked_about_once_and_then_given_up() -> None:
    lifetime = Lifetime(LIMITS, 0.0)
    assert check(lifetime, 59, streams=1) is None
    assert check(lifetime, 60, streams=1) is Action.PING
    assert check(lifetime, 61, streams=1) is None
    assert check(lifetime, 79, streams=1) is None
    assert check(lifetime, 80, streams=1) is Action.ABORT


def test_any_sign_of_life_counts() -> None:
    lifetime = Lifetime(LIMITS, 0.0)
    assert check(lifetime, 60, streams=1) is Action.PING
    assert check(lifetime, 70, heard=True, streams=1) is None
    assert check(lifetime, 100, streams=1) is None
    assert check(lifetime, 130, streams=1) is Action.PING


def test_an_idle_connection_is_drained_and_a_busy_one_is_not() -> None:
    lifetime = Lifetime(LIMITS, 0.0)
    assert check(lifetime, 299, heard=True, streams=1) is None
    assert check(lifetime, 598, heard=True) is None
    assert check(lifetime, 599, heard=True) is Action.DRAIN
    assert check(lifetime, 600, heard=True) is None


def test_an_old_connection_is_drained_and_in_the_end_cut() -> None:
    lifetime = Lifetime(LIMITS, 0.0, age_factor=1.1)
    assert check(lifetime, 1099, heard=True, streams=1) is None
    assert check(lifetime, 1100, heard=True, streams=1) is Action.DRAIN
    assert check(lifetime, 1149, heard=True, streams=1) is None
    assert check(lifetime, 1150, heard=True, streams=1) is Action.ABORT


def test_zero_means_never() -> None:
    never = Limits(handshake_seconds=0, keepalive_seconds=0)
    lifetime = Lifetime(never, 0.0)
    assert check(lifetime, 1e9, ready=False) is None
    assert check(lifetime, 1e9) is None
