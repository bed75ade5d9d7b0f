from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from epp.filewatch import FileStates, changes, file_states

POLL = 0.5
pytestmark = pytest.mark.looptime


class Watch:
    """How often the files were seen to change."""

    def __init__(self) -> None:
        self.times = 0

    async def after(self, polls: float) -> int:
        """How often until after so many looks."""
        await asyncio.sleep(polls * POLL)
        return self.times


@asynccontextmanager
async def watching(
    paths: Sequence[Path], *, since: FileStates | None = None, settle: bool = False
) -> AsyncIterator[Watch]:
    watch = Watch()

    async def count() -> None:
        async for _ in changes(paths, since=since, settle=settle):
            watch.times += 1

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(count())
        await asyncio.sleep(POLL / 2)
        yield watch
        task.cancel()


async def test_the_first_look_counts_unless_it_was_made_before(tmp_path: Path) -> None:
    path = tmp_path / "a"
    async with watching([path]) as watch:
        assert await watch.after(3) == 1
    async with watching([path], since=file_states([path])) as watch:
        assert await watch.after(3) == 0
        path.write_text("1")
        assert await watch.after(1) == 1
        path.unlink()
        assert await watch.after(1) == 2


async def test_a_change_between_the_first_look_and_the_start_counts(tmp_path: Path) -> None:
    path = tmp_path / "a"
    since = file_states([path])
    path.write_text("1")
    async with watching([path], since=since) as watch:
        assert await watch.after(0) == 1


async def test_changes_that_follow_each_other_are_one(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    paths = [first, second]
    async with watching(paths, since=file_states(paths), settle=True) as watch:
        first.write_text("1")
        assert await watch.after(1) == 0
        second.write_text("22")
        assert await watch.after(1) == 0
        assert await watch.after(1) == 1
        assert await watch.after(5) == 1


async def test_the_links_of_a_config_map_lead_to_its_files(tmp_path: Path) -> None:
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a").write_text(version)
    data, path = tmp_path / "..data", tmp_path / "a"
    data.symlink_to("..1")
    path.symlink_to("..data/a")
    async with watching([path], since=file_states([path])) as watch:
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(data)
        assert await watch.after(1) == 1


def test_a_path_that_no_file_can_have_is_a_file_that_is_not_there() -> None:
    states = file_states([Path("a\0b"), Path("/nowhere/at/all")])
    assert states == (("a\0b", None), ("/nowhere/at/all", None))
