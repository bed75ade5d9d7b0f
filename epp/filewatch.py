"""Files that somebody else may change while we run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

POLL_SECONDS = 0.5

FileStates: TypeAlias = tuple[tuple[str, tuple[int, int, int] | None], ...]
Files: TypeAlias = Sequence[Path] | Callable[[], Sequence[Path]]
"""Files to look at, or what finds them anew each time."""


def file_states(paths: Sequence[Path]) -> FileStates:
    """What differs when a file came, went, was written or replaced; None where there is none.

    Looked at is the file that a path leads to, so that a ConfigMap's change of links counts.
    """
    return tuple([(str(path), _state_of(path)) for path in paths])


async def changes(
    files: Files,
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
        states = _states(files)
        if states != known:
            known = await _settled(files, states, poll_seconds) if settle else states
            yield
        await asyncio.sleep(poll_seconds)


async def _settled(files: Files, states: FileStates, seconds: float) -> FileStates:
    """The states that are still the same after some time."""
    while True:
        await asyncio.sleep(seconds)
        later = _states(files)
        if later == states:
            return states
        states = later


def _states(files: Files) -> FileStates:
    return file_states(files() if callable(files) else files)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
