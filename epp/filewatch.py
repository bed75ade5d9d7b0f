"""Files that somebody else may change while we run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TypeAlias

POLL_SECONDS = 0.5

FileStates: TypeAlias = tuple[tuple[int, int, int] | None, ...]


def file_states(paths: Sequence[Path]) -> FileStates:
    """What differs when a file was written or replaced; None for one that is not there.

    Looked at is the file that a path leads to, so that a ConfigMap's change of links counts.
    """
    return tuple([_state_of(path) for path in paths])


async def changes(
    paths: Sequence[Path],
    *,
    since: FileStates | None = None,
    settle: bool = False,
    poll_seconds: float = POLL_SECONDS,
) -> AsyncIterator[None]:
    """Yields whenever one of the files is another than before; the first time at once.

    ``since`` are the states that are known already. With ``settle`` changes that follow each other,
    as when several files are written, are one.
    """
    known = since
    while True:
        states = file_states(paths)
        if states != known:
            known = await _settled(paths, states, poll_seconds) if settle else states
            yield
        await asyncio.sleep(poll_seconds)


async def _settled(paths: Sequence[Path], states: FileStates, seconds: float) -> FileStates:
    """The states that are still the same after some time."""
    while True:
        await asyncio.sleep(seconds)
        later = file_states(paths)
        if later == states:
            return states
        states = later


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
