"""What a peer may still send: flow control of the receiving side.

Source: RFC 9113, sections 5.2 and 6.9.
"""

from __future__ import annotations


class ReceiveWindow:
    """The window of one stream or connection, in bytes.

    ``is_due``: so much came in since the last ``refill`` that the peer should be allowed more.
    """

    __slots__ = ("_left", "_owed", "_worth_telling")

    def __init__(self, size: int) -> None:
        self._left = size
        self._owed = 0
        self._worth_telling = size >> 1

    @property
    def is_due(self) -> bool:
        """Whether half of the window is used up."""
        return self._owed > self._worth_telling

    def take(self, size: int) -> bool:
        """So many bytes came in; False when the peer was not allowed to send them."""
        self._left -= size
        self._owed += size
        return self._left >= 0

    def refill(self) -> int:
        """Allow as much again as came in; the increment to tell the peer."""
        owed, self._owed = self._owed, 0
        self._left += owed
        return owed
