"""Typed keys for what one plugin makes and another (or the same one, later) reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec

T = TypeVar("T")


class DataKey(Generic[T]):
    """The name of an attribute together with its type."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"DataKey({self.name!r})"


class CycleData:
    """What plugins know about one request; lives as long as the request."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[DataKey[Any], object] = {}

    def set(self, key: DataKey[T], value: T) -> None:
        """Keep ``value`` under ``key``, in place of what was there."""
        self._values[key] = value

    def get(self, key: DataKey[T]) -> T | None:
        """The value under ``key``, or None."""
        return cast("T | None", self._values.get(key))


class PrefixMatch(msgspec.Struct, frozen=True):
    """How much of a prompt each endpoint has seen.

    The prompt has ``total_blocks`` full blocks of ``block_bytes`` bytes; ``matched_blocks`` counts
    per endpoint id, absent means 0.
    """

    total_blocks: int
    block_bytes: int
    matched_blocks: Mapping[str, int]


PREFIX_MATCH: DataKey[PrefixMatch] = DataKey("prefix-match")
