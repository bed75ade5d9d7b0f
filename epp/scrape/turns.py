"""Whose turn it is: everybody's once in an interval, evenly spread, however many there are."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

# What adding up small parts may lack of a whole turn.
_ROUNDING = 1e-9


class Turns(Generic[T]):
    """A ring of members that take turns.

    As time goes by, turns fall due: as many in an interval as there are members. They go round the
    ring. Those that nobody takes are dropped, and everybody waits a little longer instead.
    """

    def __init__(self, interval_seconds: float) -> None:
        self._interval = interval_seconds
        self._ring: deque[T] = deque()
        self._due = 0.0
        self._taken = 0
        self._dropped = 0.0

    def add(self, member: T) -> None:
        """A new member; it has the next turn, which is due at once."""
        self._ring.appendleft(member)
        self._due += 1.0

    def remove(self, member: T) -> None:
        """A member that takes part no more."""
        self._ring.remove(member)

    def pass_time(self, seconds: float) -> None:
        """Let turns fall due; more than one for each member is never."""
        due = self._due + len(self._ring) * seconds / self._interval
        self._due = min(due, len(self._ring))
        self._dropped += due - self._due

    def take(self) -> T | None:
        """Whose turn it is now; None when no turn is due."""
        if self._due < 1.0 - _ROUNDING or not self._ring:
            return None
        self._due -= 1.0
        self._taken += 1
        member = self._ring.popleft()
        self._ring.append(member)
        return member

    def drop(self) -> None:
        """Turns that are due now have to wait until they are due again."""
        whole = int(self._due + _ROUNDING)
        self._dropped += whole
        self._due -= whole

    def measure(self) -> float:
        """The seconds between two turns of a member, on average since this was last asked."""
        missed = self._dropped / max(1, self._taken)
        self._taken, self._dropped = 0, 0.0
        return self._interval * (1.0 + missed)
