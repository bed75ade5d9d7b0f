"""Which endpoint each session is bound to, for as long as it is used."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from epp.core.clock import Clock

MOST_BINDINGS = 100_000
LONGEST_ID = 128


class Bindings:
    """Sessions and the ids of their endpoints, the one used longest ago first.

    A binding ends when it was not used for ``ttl_seconds``; what has ended is removed at most every
    ``sweep_seconds``, when a session is bound. Beyond ``MOST_BINDINGS`` the first ones go.
    """

    def __init__(self, clock: Clock, *, ttl_seconds: float, sweep_seconds: float) -> None:
        self._clock = clock
        self._ttl = ttl_seconds
        self._interval = sweep_seconds
        self._swept = clock.now()
        # A plain dictionary walks over all that was dropped to find its first entry.
        self._bound: OrderedDict[str | bytes, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bound)

    def get(self, session: str) -> str:
        """The endpoint's id; empty where the session is not bound."""
        endpoint_id, used = self._bound.get(_key(session), ("", 0.0))
        return endpoint_id if self._clock.now() - used <= self._ttl else ""

    def bind(self, session: str, endpoint_id: str) -> None:
        """The session was sent there just now."""
        now, key = self._clock.now(), _key(session)
        self._bound[key] = endpoint_id, now
        self._bound.move_to_end(key)
        if len(self._bound) > MOST_BINDINGS:
            self._bound.popitem(last=False)
        if now - self._swept >= self._interval:
            self._swept = now
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        ended = []
        for key, (_, used) in self._bound.items():
            if now - used <= self._ttl:
                break
            ended.append(key)
        for key in ended:
            del self._bound[key]


def _key(session: str) -> str | bytes:
    """Clients choose the ids: long ones are kept as digests, so that they take no more memory."""
    if len(session) <= LONGEST_ID:
        return session
    return blake2b(session.encode("utf-8", "surrogatepass"), digest_size=32).digest()
