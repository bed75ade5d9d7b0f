from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PosixPath
from random import Random
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.clock import Clock
from epp.core.plugin import REGISTRY, Handle
from epp.core.probe import Probe
from epp.datastore.store import Datastore
from epp.discovery.file import EndpointsFileError, follow, parse_endpoints, read_endpoints
from epp.plugins.discovery.file import FileDiscovery, FileDiscoveryParams

POLL = 0.5
GOOD = """\
endpoints:
- name: a
  address: 10.0.0.1
  port: "8000"
- name: b
  namespace: other
  address: 10.0.0.2
  port: "8001"
  labels:
    role: prefill
"""


def only(name: str) -> str:
    return f'{{"endpoints": [{{"name": "{name}", "address": "10.0.0.1", "port": "8000"}}]}}'


def entry(**changes: Any) -> dict[str, Any]:
    values = {"name": "a", "address": "10.0.0.1", "port": "8000"} | changes
    return {key: value for key, value in values.items() if value is not None}


def as_json(*entries: Any) -> bytes:
    return msgspec.json.encode({"endpoints": entries})


def short(error: EndpointsFileError) -> str:
    """``file:line: place: text``: without column, severity and rule."""
    return re.sub(r":\d+: error: (.*) \[endpoints-file\]$", r": \1", str(error))


def test_a_file_lists_endpoints(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(GOOD)
    first, second = read_endpoints(path)
    assert (first.id, first.name, first.namespace) == ("default/a", "a", "default")
    assert (first.address, first.port, first.labels) == ("10.0.0.1", 8000, {})
    assert second.id == "other/b"
    assert second.labels == {"role": "prefill"}
    assert second.destination == "10.0.0.2:8001"


@pytest.mark.parametrize(
    ("changes", "destination"),
    [
        ({}, "10.0.0.1:8000"),
        ({"port": 8000}, "10.0.0.1:8000"),
        ({"port": "65535"}, "10.0.0.1:65535"),
        ({"address": "fd00:0::1"}, "[fd00::1]:8000"),
        ({"labels": None, "unknown": 1}, "10.0.0.1:8000"),
    ],
)
def test_an_entry_gives_an_endpoint(changes: dict[str, Any], destination: str) -> None:
    (endpoint,) = parse_endpoints(as_json(entry(**changes)), "f")
    assert endpoint.destination == destination


def test_an_empty_list_is_an_empty_pool() -> None:
    assert parse_endpoints(b"endpoints: []", "f") == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": None}, "f:1: endpoints[0]: `name` is missing: a string, not empty, without /"),
        ({"name": ""}, "f:1: endpoints[0].name: expected a string, not empty, without /"),
        ({"name": 7}, "f:1: endpoints[0].name: expected a string, not empty, without /"),
        ({"name": "a/b"}, "f:1: endpoints[0].name: expected a string, not empty, without /"),
        ({"namespace": ""}, "f:1: endpoints[0].namespace: expected a string, not empty, without /"),
        ({"address": None}, "f:1: endpoints[0]: `address` is missing: a literal IP address"),
        ({"address": "localhost"}, "f:1: endpoints[0].address: expected a literal IP address"),
        ({"address": "10.0.0.256"}, "f:1: endpoints[0].address: expected a literal IP address"),
        ({"address": "fe80::1%eth0"}, "f:1: endpoints[0].address: expected a literal IP address"),
        ({"address": 1}, "f:1: endpoints[0].address: expected a literal IP address"),
        ({"port": None}, "f:1: endpoints[0]: `port` is missing: a number from 1 to 65535"),
        ({"port": "0"}, "f:1: endpoints[0].port: expected a number from 1 to 65535"),
        ({"port": 65536}, "f:1: endpoints[0].port: expected a number from 1 to 65535"),
        ({"port": "http"}, "f:1: endpoints[0].port: expected a number from 1 to 65535"),
        ({"port": "9" * 5000}, "f:1: endpoints[0].port: expected a number from 1 to 65535"),
        ({"port": True}, "f:1: endpoints[0].port: expected a number from 1 to 65535"),
        ({"port": 80.0}, "f:1: endpoints[0].port: expected a number from 1 to 65535"),
        ({"labels": ["x"]}, "f:1: endpoints[0].labels: expected a mapping"),
        ({"labels": {"x": 1}}, "f:1: endpoints[0].labels.x: expected a string (in quotes)"),
    ],
)
def test_a_wrong_entry_is_refused(changes: dict[str, Any], problem: str) -> None:
    content = as_json(entry(**{"name": "a"} | changes))
    if "name" in changes and changes["name"] is None:
        content = as_json({"address": "10.0.0.1", "port": "8000"})
    with pytest.raises(EndpointsFileError) as error:
        parse_endpoints(content, "f")
    assert short(error.value) == problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "f:1: expected a mapping with the list `endpoints`"),
        (b"- a", "f:1: expected a mapping with the list `endpoints`"),
        (b"endpoint: []", "f:1: expected a mapping with the list `endpoints`"),
        (b"endpoints: 7", "f:1: expected a mapping with the list `endpoints`"),
        (b"endpoints:\n- 7", "f:2: endpoints[0]: expected a mapping"),
        (b"\xff", "f: is not UTF-8"),
        (b"#" * 1024 * 1024 + b"#", "f: larger than 1048576 bytes"),
        (
            as_json(entry(), entry(namespace="default")),
            "f:1: endpoints[1].name: default/a is already endpoints[0]",
        ),
    ],
)
def test_a_wrong_file_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(EndpointsFileError) as error:
        parse_endpoints(content, "f")
    assert short(error.value) == problem


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    content = (
        b"endpoints:\n- name: a\n  address: x\n  port: 1\n- name: b\n  address: ::1\n  port: y\n"
    )
    with pytest.raises(EndpointsFileError) as error:
        parse_endpoints(content, "f")
    assert str(error.value) == (
        "f:3:3: error: endpoints[0].address: expected a literal IP address [endpoints-file]; "
        "f:7:3: error: endpoints[1].port: expected a number from 1 to 65535 [endpoints-file]"
    )


def test_broken_yaml_is_refused_in_one_line() -> None:
    with pytest.raises(EndpointsFileError) as error:
        parse_endpoints(b"endpoints:\n- name: [a\n  address: {", "f")
    assert str(error.value).startswith("f:")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EndpointsFileError, match=r"none\.yaml: No such file or directory"):
        read_endpoints(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_path_that_no_file_can_have_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(EndpointsFileError, match="cannot be a path") as error:
        read_endpoints(Path(path))
    assert str(error.value).startswith(f"{path!r}: ")
    assert str(error.value).isprintable()


@given(st.binary(max_size=60), st.integers(0, len(GOOD)))
def test_any_content_is_read_or_refused(noise: bytes, cut: int) -> None:
    with suppress(EndpointsFileError):
        parse_endpoints(GOOD[:cut].encode() + noise + GOOD[cut:].encode(), "f")


class World:
    """A file, the datastore that follows it, and the errors reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.datastore = Datastore()
        self.errors: list[str] = []

    @property
    def names(self) -> list[str]:
        return [endpoint.name for endpoint in self.datastore.endpoints()]

    async def write(self, text: str) -> None:
        """Change the file in place, and wait until it must have been seen."""
        self.path.write_text(text)
        # The file system's clock is coarse, and virtual time leaves it no chance to move on.
        status = os.stat(self.path)
        os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns + len(self.errors) + 1))
        await self.pass_a_poll()

    async def pass_a_poll(self) -> None:
        await asyncio.sleep(1.5 * POLL)


async def at_once(read: Callable[[], Any]) -> Any:
    """Virtual time would not wait for another thread."""
    return read()


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[World]:
    world = World(path)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow(path, world.datastore, world.errors.append, aside=at_once))
        await asyncio.sleep(0)
        yield world
        task.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "endpoints.yaml"
    path.write_text(GOOD)
    return path


@pytest.mark.looptime
async def test_a_changed_file_is_followed(path: Path) -> None:
    async with following(path) as world:
        assert world.names == ["a", "b"]
        await world.write(only("c"))
        assert world.names == ["c"]
        assert world.errors == []


class NotingPath(PosixPath):
    """A path that notes in which threads it is used."""

    threads: ClassVar[set[int]] = set()

    def __fspath__(self) -> str:
        self.threads.add(threading.get_ident())
        return super().__fspath__()


async def test_the_loop_s_thread_does_not_read(path: Path) -> None:
    read = asyncio.Event()
    datastore = Datastore()
    datastore.subscribe(added=lambda _: read.set(), removed=lambda _: None)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow(NotingPath(path), datastore, pytest.fail))
        await read.wait()
        task.cancel()
    assert len(NotingPath.threads) == 2


@pytest.mark.looptime
async def test_a_file_that_is_replaced_is_followed(path: Path, tmp_path: Path) -> None:
    async with following(path) as world:
        new = tmp_path / "new"
        new.write_text(only("c"))
        new.rename(path)
        await world.pass_a_poll()
        assert world.names == ["c"]


@pytest.mark.looptime
async def test_the_links_of_a_config_map_are_followed(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "endpoints.yaml").write_text(only(version))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "endpoints.yaml").symlink_to("..data/endpoints.yaml")
    async with following(tmp_path / "endpoints.yaml") as world:
        assert world.names == ["v1"]
        (tmp_path / "..tmp").symlink_to("v2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        await world.pass_a_poll()
        assert world.names == ["v2"]


@pytest.mark.looptime
async def test_a_broken_file_keeps_the_last_good_state_and_is_reported_once(path: Path) -> None:
    async with following(path) as world:
        await world.write("endpoints: 7")
        await world.write("endpoints: 7")
        await world.pass_a_poll()
        assert world.names == ["a", "b"]
        assert len(world.errors) == 1
        await world.write("endpoints: 8")
        assert len(world.errors) == 2
        await world.write(only("c"))
        assert world.names == ["c"]
        await world.write("endpoints: 8")
        assert len(world.errors) == 3


@pytest.mark.looptime
async def test_a_removed_file_keeps_the_last_good_state(path: Path) -> None:
    async with following(path) as world:
        os.unlink(path)
        await world.pass_a_poll()
        await world.pass_a_poll()
        assert world.names == ["a", "b"]
        assert world.errors == [f"{path}: No such file or directory"]
        await world.write(only("c"))
        assert world.names == ["c"]


@pytest.mark.looptime
async def test_a_file_may_appear_later(path: Path) -> None:
    os.unlink(path)
    async with following(path) as world:
        assert len(world.errors) == 1
        await world.write(only("c"))
        assert world.names == ["c"]


@pytest.mark.looptime
async def test_a_path_that_no_file_can_have_is_reported_once() -> None:
    async with following(Path("a\0b")) as world:
        await world.pass_a_poll()
        await world.pass_a_poll()
        assert len(world.errors) == 1


def test_the_plugin_declares_the_file() -> None:
    params = msgspec.convert({"path": "/e.yaml", "watchFile": True}, FileDiscoveryParams)
    entry = REGISTRY["file-discovery"]
    made = entry.make(params, Handle(random=Random(1), clock=Clock(), probe=Probe()))
    assert isinstance(made, FileDiscovery)
    assert (made.path, made.watch_file) == ("/e.yaml", True)
    assert not msgspec.convert({"path": "x"}, FileDiscoveryParams).watch_file


@pytest.mark.parametrize("params", [{}, {"path": ""}])
def test_the_plugin_needs_a_path(params: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(params, FileDiscoveryParams)
