"""A running picker takes a new configuration, and keeps the old one when the new one is wrong."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from lab import http
from lab.envoy import run_envoy
from lab.picker import Picker, run_picker
from tests.system.upstreams import run_upstream

pytestmark = pytest.mark.system

QUEUE = """\
plugins:
- type: queue-scorer
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
"""
OTHER = QUEUE.replace("queue-scorer", "kv-cache-utilization-scorer").replace("3", "1")
WRONG = QUEUE.replace("weight: 2", "wieght: 2")
PROMPT = "The same long beginning of a prompt. " * 40
SECONDS = 30.0


class World(msgspec.Struct, frozen=True):
    """A picker that follows its configuration, behind the real Envoy."""

    picker: Picker
    folder: Path
    client: ClientSession

    def write(self, text: str, revision: int) -> None:
        """Change the file as the kubelet changes a mounted ConfigMap: links, at one stroke."""
        data = self.folder / f"..{revision}"
        data.mkdir()
        (data / "epp.yaml").write_text(text)
        link = self.folder / "..data.new"
        link.symlink_to(data.name)
        os.replace(link, self.folder / "..data")

    def page(self, path: str) -> Any:
        """A page of the metrics port, as JSON."""
        return json.loads(http.get(self.picker.ports.metrics, path)[1])

    def value(self, name: str) -> float:
        """A metric without labels, or with those in the name."""
        lines = self.picker.metrics().splitlines()
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        return float(line.split()[-1])

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not is_so():  # noqa: ASYNC110  # what is waited for is in another process
                await asyncio.sleep(0.05)

    async def until_loaded(self, times: int) -> None:
        """Wait until so many configurations were taken over, the first included."""
        await self.until(lambda: self.value('epp_config_loads_total{result="success"}') >= times)

    async def ask(self, prompt: str = PROMPT) -> int:
        body = {"model": "m", "prompt": prompt}
        async with self.client.post("/v1/completions", json=body) as answer:
            await answer.read()
            return answer.status

    def scorers(self) -> list[str]:
        """Who scored the last decision."""
        (profile,) = self.picker.decisions()[0]["profiles"]
        return [scorer["plugin"] for scorer in profile["scorers"]]


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    folder = tmp_path / "config"
    folder.mkdir()
    file = folder / "epp.yaml"
    async with AsyncExitStack() as parts:
        upstreams = [await parts.enter_async_context(run_upstream()) for _ in range(2)]
        endpoints = [upstream.endpoint for upstream in upstreams]
        (folder / "..0").mkdir()
        (folder / "..0" / "epp.yaml").write_text(QUEUE)
        (folder / "..data").symlink_to("..0")
        file.symlink_to("..data/epp.yaml")
        picker = parts.enter_context(
            run_picker(tmp_path, endpoints, flags=[f"--config-file={file}"])
        )
        envoy = parts.enter_context(
            run_envoy(tmp_path, picker_port=picker.port, endpoints=endpoints)
        )
        client = await parts.enter_async_context(
            ClientSession(envoy.url, timeout=ClientTimeout(total=30))
        )
        yield World(picker, folder, client)


async def test_a_changed_configuration_decides_the_next_request_and_none_fails(
    world: World,
) -> None:
    statuses: list[int] = []
    is_over = asyncio.Event()

    async def go_on() -> None:
        while not is_over.is_set():
            statuses.append(await world.ask())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(go_on())
        for revision, text in enumerate((OTHER, QUEUE, OTHER), start=1):
            world.write(text, revision)
            await world.until_loaded(1 + revision)
        is_over.set()
    assert set(statuses) == {200}
    assert await world.ask() == 200
    assert world.scorers()[0] == "kv-cache-utilization-scorer"


async def test_what_a_plugin_knows_survives_if_it_stays_the_same(world: World) -> None:
    assert await world.ask() == 200
    before = world.value("inference_extension_prefix_indexer_size")
    assert before > 0
    world.write(OTHER, 1)
    await world.until_loaded(2)
    assert world.value("inference_extension_prefix_indexer_size") == before
    assert await world.ask() == 200
    (profile,) = world.picker.decisions()[0]["profiles"]
    (prefix,) = [s for s in profile["scorers"] if s["plugin"] == "prefix-cache-scorer"]
    assert (
        max(prefix["scores"].values() if isinstance(prefix["scores"], dict) else prefix["scores"])
        == 1
    )


async def test_a_wrong_file_changes_nothing_and_says_why(world: World) -> None:
    world.write(WRONG, 1)
    await world.until(lambda: world.value('epp_config_loads_total{result="failure"}') == 1)
    assert world.picker.is_serving()
    assert world.value("epp_config_last_load_successful") == 0
    assert await world.ask() == 200
    assert world.scorers()[0] == "queue-scorer"
    world.write(OTHER, 2)
    await world.until(lambda: world.value("epp_config_last_load_successful") == 1)
    assert await world.ask() == 200
    assert world.scorers()[0] == "kv-cache-utilization-scorer"
    log = world.picker.process.log.read_text()
    (told,) = [line for line in log.splitlines() if "the one before stays" in line]
    assert 'unknown field \\"wieght\\"' in told
    assert "did you mean 'weight'?" in told
    (told,) = [line for line in log.splitlines() if "Took over the configuration" in line]
    assert "+- type: kv-cache-utilization-scorer" in told


async def test_the_pages_tell_what_is_in_force(world: World) -> None:
    assert "type: queue-scorer" in world.page("/debug/config")["effective"]
    world.write(OTHER, 1)
    await world.until_loaded(2)
    assert "type: queue-scorer" not in world.page("/debug/config")["effective"]
    plugins = {plugin["name"]: plugin for plugin in world.page("/debug/plugins")}
    assert plugins["kv-cache-utilization-scorer"]["origin"] == "built in"
    assert plugins["max-score-picker"]["addedBecause"]


OWN = '''\
"""``favourite-scorer``: one port is better than all others."""

from epp.core.plugin import NoParams, Scorer, Stability, plugin


@plugin("favourite-scorer", params=NoParams, stability=Stability.BETA)
class FavouriteScorer(Scorer):
    """Prefer a port."""

    def score(self, request, endpoints):
        return [float(endpoint.port == PORT) for endpoint in endpoints]
'''
USE_OWN = """\
plugins:
- type: favourite-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: favourite-scorer
"""


async def test_a_plugin_in_a_mounted_folder_joins_a_running_picker(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    config = tmp_path / "epp.yaml"
    config.write_text(QUEUE)
    async with AsyncExitStack() as parts:
        upstreams = [await parts.enter_async_context(run_upstream()) for _ in range(2)]
        endpoints = [upstream.endpoint for upstream in upstreams]
        flags = [f"--config-file={config}", f"--plugin-dir={plugins}"]
        picker = parts.enter_context(run_picker(tmp_path, endpoints, flags=flags))
        envoy = parts.enter_context(
            run_envoy(tmp_path, picker_port=picker.port, endpoints=endpoints)
        )
        client = await parts.enter_async_context(
            ClientSession(envoy.url, timeout=ClientTimeout(total=30))
        )
        world = World(picker, tmp_path, client)
        for times, port in enumerate((endpoints[0].port, endpoints[1].port), start=2):
            (plugins / "favourite.py").write_text(OWN.replace("PORT", str(port)))
            config.write_text(USE_OWN)
            await world.until_loaded(times)
            for _ in range(5):
                assert await world.ask() == 200
            picked = {decision["destination"] for decision in picker.decisions()[:5]}
            assert {place.rpartition(":")[2] for place in picked} == {str(port)}
        (plugins / "favourite.py").write_text("import nothing_of_this_name\n")
        await world.until(lambda: world.value('epp_config_loads_total{result="failure"}') == 1)
        assert await world.ask() == 200
        assert "favourite.py:1: ModuleNotFoundError" in picker.process.log.read_text()
