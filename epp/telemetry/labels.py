"""What may stand in a label, and how many different things.

Differs: label values are valid UTF-8 of at most 128 bytes, and after 1,000 different ones a metric
counts the rest as ``other``; upstream ends on bytes that are no UTF-8, and keeps names of any
length.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

from epp.telemetry.exposition import spell_labels

MAX_SERIES = 1000
MAX_LABEL_BYTES = 128
OTHER = "other"

T = TypeVar("T")


def label_text(text: str) -> str:
    """``text`` as a label value: valid UTF-8, at most 128 bytes, cut between two characters."""
    if text.isascii():
        return text[:MAX_LABEL_BYTES]
    # One character is at least one byte: what is cut off here would not fit anyway.
    cleaned = text[:MAX_LABEL_BYTES].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return cleaned.encode()[:MAX_LABEL_BYTES].decode("utf-8", "ignore")


class Limit:
    """The first ``size`` different values that somebody asks for; the others have no place."""

    def __init__(self, size: int = MAX_SERIES) -> None:
        self._size = size
        self._values: set[Hashable] = set()

    def admits(self, value: Hashable) -> bool:
        """Whether ``value`` has a place, now and ever after."""
        if value in self._values:
            return True
        if len(self._values) >= self._size:
            return False
        self._values.add(value)
        return True


class Series(dict[tuple[str, ...], T], Generic[T]):
    """The series of a family by the values of their labels; a look-up makes what is missing.

    The values have to be ``label_text`` already, and of a number that somebody bounds.
    """

    def __init__(self, names: Sequence[str], make: Callable[[], T]) -> None:
        super().__init__()
        self._names = tuple(names)
        self._make = make

    def __missing__(self, values: tuple[str, ...]) -> T:
        made = self[values] = self._make()
        return made

    def spelled(self) -> Iterator[tuple[str, T]]:
        """Each with its labels as they stand on the page."""
        for values, series in list(self.items()):
            yield spell_labels(dict(zip(self._names, values, strict=True))), series
