from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from epp.core.errors import StartError
from epp.datastore.store import Datastore, Pool
from epp.discovery.source import Place, file_source, place_of
from epp.flags.options import Options, read_options
from epp.plugins.discovery.file import FileDiscovery, FileDiscoveryParams
from tests.fakes import make_handle
from tests.kube.server import until

LINE = 'endpoints: [{{name: {}, address: 10.0.0.1, port: "8000"}}]'


def options(*argv: str) -> Options:
    return read_options(argv, {})[0]


def plugin(path: Path, *, is_watched: bool) -> FileDiscovery:
    return FileDiscovery(FileDiscoveryParams(str(path), is_watched), make_handle())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "endpoints.yaml"
    path.write_text(LINE.format("a"))
    return path


def names(datastore: Datastore) -> list[str]:
    return [endpoint.name for endpoint in datastore.endpoints()]


def test_a_flag_or_the_configuration_names_the_file(file: Path) -> None:
    flag = options("--endpoints-file", str(file))
    assert place_of(flag, None) == Place(file, is_watched=True)
    other = plugin(Path("other"), is_watched=False)
    assert place_of(flag, other) == Place(file, is_watched=True)
    in_a_cluster = options("--pool-name", "p")
    assert place_of(in_a_cluster, other) == Place(Path("other"), is_watched=False)
    assert place_of(in_a_cluster, None) is None


async def test_a_file_gives_pool_and_endpoints_at_once(file: Path) -> None:
    datastore = Datastore()
    given = options("--pool-namespace", "ns", "--endpoints-file", str(file))
    source = file_source(given, Place(file, is_watched=False), datastore)
    assert datastore.pool == Pool(name="default", namespace="ns")
    assert names(datastore) == ["a"]
    await source.open()
    await source.run()  # there is nothing to follow
    named = options("--pool-name", "p", "--endpoints-file", str(file))
    file_source(named, Place(file, is_watched=False), datastore)
    assert datastore.pool.name == "p"


async def test_a_watched_file_is_followed(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    datastore = Datastore()
    source = file_source(options("--endpoints-file", str(file)), Place(file, True), datastore)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run())
        replace(file, LINE.format("b"))
        await until(lambda: names(datastore) == ["b"])
        replace(file, "endpoints: 5")
        await until(lambda: caplog.messages == ["Keeping the last good endpoints"])
        assert names(datastore) == ["b"]
        running.cancel()


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_a_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="none"):
        file_source(
            options("--pool-name", "p"), Place(tmp_path / "none", is_watched=True), Datastore()
        )


def test_without_a_cluster_there_are_no_nodes(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = file_source(
        options("--endpoints-file", str(file)), Place(file, is_watched=False), Datastore()
    )
    source.label_by_nodes({})
    assert caplog.messages == []
    source.label_by_nodes({"here": "there"})
    assert caplog.messages == ["topology-extractor has no effect without a cluster"]
