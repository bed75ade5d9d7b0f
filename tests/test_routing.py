from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from epp.core.errors import StartError
from epp.core.request import IncomingRequest
from epp.datastore.store import Datastore
from epp.exchange import Exchange
from epp.flags.options import read_options
from epp.routing import Routing
from tests.fakes import FakeClock, FakeProbe, endpoints, make_handle

POLL = 0.5
CONFIG = """\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: {producer}
  name: memory
  parameters:
    maxPrefixBlocksToMatch: {blocks}
- type: prefix-cache-scorer
  parameters:
    prefixMatchInfoProducerName: memory
- type: max-score-picker
- type: single-profile-handler
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: prefix-cache-scorer
    weight: {weight}
  - pluginRef: max-score-picker
"""
OWN_CONFIG = """\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: my-scorer
- type: max-score-picker
- type: single-profile-handler
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: my-scorer
  - pluginRef: max-score-picker
"""
OWN = """\
from __future__ import annotations
from collections.abc import Sequence
from epp.core.endpoint import Endpoint
from epp.core.plugin import NoParams, Scorer, Stability, plugin
from epp.core.request import InferenceRequest


@plugin("my-scorer", params=NoParams, stability=Stability.BETA)
class MyScorer(Scorer):
    def score(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> Sequence[float]:
        return [{score} for _ in endpoints]

    def describe(self) -> dict[str, object]:
        return {{"score": {score}}}
"""
LATER = 1_000_000_000


def config(
    *, producer: str = "byte-prefix-cache-producer", blocks: int = 256, weight: float = 1.0
) -> str:
    return CONFIG.format(producer=producer, blocks=blocks, weight=weight)


class World:
    """A configuration in a file, perhaps with plugins in a folder, and what follows it."""

    def __init__(self, folder: Path, text: str, own: str | None = None) -> None:
        self.path = folder / "config.yaml"
        self.path.write_text(text)
        self.own = folder / "plugins"
        self.own.mkdir()
        arguments = ["--config-file", str(self.path), "--pool-name", "p"]
        if own is not None:
            self.write_own(own)
            arguments += ["--plugin-dir", str(self.own)]
        self.probe = FakeProbe()
        self.store = Datastore()
        self.store.set_endpoints(endpoints(0, 0))
        options, _ = read_options(arguments, {})
        self.routing = Routing(options, self.store, make_handle(probe=self.probe))
        self.changes: list[object] = []
        self.routing.changed.append(lambda routing: self.changes.append(routing.director))

    def write_own(self, text: str) -> None:
        path = self.own / "mine.py"
        before = path.stat().st_mtime_ns if path.exists() else LATER
        path.write_text(text)
        os.utime(path, ns=(before + LATER, before + LATER))  # however coarse the clock of files is

    def change(self, text: str) -> None:
        before = self.path.stat().st_mtime_ns
        self.path.write_text(text)
        os.utime(self.path, ns=(before + LATER, before + LATER))

    def plugin(self, name: str) -> object:
        return self.routing.config.entries[name].plugin

    @property
    def own_score(self) -> object:
        (state,) = [p["state"] for p in self.routing.describe_plugins() if p["type"] == "my-scorer"]
        return state["score"]

    def listeners(self) -> list[str]:
        """Which plugins hear of an endpoint that goes."""
        heard = len(self.probe.index_sizes)
        self.store.set_endpoints(endpoints(0))
        self.store.set_endpoints(endpoints(0, 0))
        return ["memory"] * (len(self.probe.index_sizes) - heard)


def test_the_first_configuration_has_to_be_right(tmp_path: Path) -> None:
    with pytest.raises(StartError):
        World(tmp_path, "plugins: 7")


def test_unchanged_plugins_go_on_with_what_they_know(tmp_path: Path) -> None:
    world = World(tmp_path, config())
    director, memory, scorer = (
        world.routing.director,
        world.plugin("memory"),
        world.plugin("prefix-cache-scorer"),
    )
    world.change(config(weight=2.0))
    world.routing.reload()
    assert world.plugin("memory") is memory
    assert world.plugin("prefix-cache-scorer") is scorer
    assert world.routing.director is not director
    assert world.changes == [world.routing.director]
    assert world.probe.configs == [True, True]
    (profile,) = world.routing.config.scheduler.profiles.values()
    assert [weighted.weight for weighted in profile.scorers] == [2.0]


@pytest.mark.parametrize(
    "changed", [config(blocks=8), config(producer="approx-prefix-cache-producer")]
)
def test_a_changed_plugin_takes_the_place_of_the_one_before_and_hears_of_endpoints(
    tmp_path: Path, changed: str
) -> None:
    world = World(tmp_path, config())
    memory = world.plugin("memory")
    assert world.listeners() == ["memory"]
    world.change(changed)
    world.routing.reload()
    assert world.plugin("memory") is not memory
    assert world.listeners() == ["memory"]


def test_a_listener_that_stays_hears_of_an_endpoint_once(tmp_path: Path) -> None:
    world = World(tmp_path, config())
    for weight in (2.0, 3.0):
        world.change(config(weight=weight))
        world.routing.reload()
    assert world.listeners() == ["memory"]


def test_a_listener_that_is_gone_hears_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, config())
    world.change(OWN_CONFIG.replace("my-scorer", "queue-scorer"))
    world.routing.reload()
    assert world.probe.configs == [True, True]
    assert world.listeners() == []


LOAD_CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: inflight-load-producer
  parameters:
    outputRatio: {ratio}
- type: active-request-scorer
- type: max-score-picker
- type: single-profile-handler
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: active-request-scorer
  - pluginRef: max-score-picker
"""


@pytest.mark.parametrize("ratio", [1, 2], ids=["kept", "replaced"])
async def test_a_load_goes_down_however_often_the_configuration_changed_meanwhile(
    tmp_path: Path, ratio: int
) -> None:
    world = World(tmp_path, LOAD_CONFIG.format(ratio=1))
    exchanges = []

    async def route() -> None:
        exchange = Exchange(clock=FakeClock(), probe=world.probe, datastore=world.store)
        incoming = IncomingRequest({}, b'{"model":"m","prompt":"abcd"}', None)
        exchange.routed(await world.routing.director.decide(exchange, incoming))
        exchanges.append(exchange)

    await route()
    assert sorted(world.probe.loads.values()) == [(1, 1)]
    first = world.plugin("inflight-load-producer")
    world.change(LOAD_CONFIG.format(ratio=ratio) + "\n")
    world.routing.reload()
    assert (world.plugin("inflight-load-producer") is first) == (ratio == 1)
    await route()
    assert sum(requests for requests, _ in world.probe.loads.values()) == 2
    for exchange in exchanges:
        exchange.close()
    assert {*world.probe.loads.values()} == {(0, 0)}
    for state in world.routing.describe_plugins():
        if state["type"] == "inflight-load-producer":
            assert {*state["state"]["requests"].values()} == {0}


@pytest.mark.parametrize(
    "wrong", ["plugins: 7", "[", config(blocks=8).replace("max-score-picker", "none")]
)
def test_a_wrong_file_keeps_everything(
    tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, config())
    before = world.routing.config, world.routing.director, world.plugin("memory")
    world.change(wrong)
    world.routing.reload()
    assert (world.routing.config, world.routing.director, world.plugin("memory")) == before
    assert world.changes == []
    assert world.probe.configs == [True, False]
    assert "The configuration is wrong: the one before stays" in caplog.messages
    world.change(config(weight=2.0))
    world.routing.reload()
    assert world.plugin("memory") is before[2]
    assert world.probe.configs == [True, False, True]


def test_a_file_that_is_gone_keeps_everything(tmp_path: Path) -> None:
    world = World(tmp_path, config())
    before = world.routing.config
    world.path.unlink()
    world.routing.reload()
    assert world.routing.config is before
    assert world.probe.configs == [True, False]


def test_own_plugins_are_made_anew_only_if_a_file_has_changed(tmp_path: Path) -> None:
    world = World(tmp_path, OWN_CONFIG, OWN.format(score=0.25))
    scorer, picker = world.plugin("my-scorer"), world.plugin("max-score-picker")
    assert world.own_score == 0.25
    world.routing.reload()
    assert world.plugin("my-scorer") is scorer
    world.write_own(OWN.format(score=0.75))
    world.routing.reload()
    assert world.plugin("my-scorer") is not scorer
    assert world.plugin("max-score-picker") is picker
    assert world.own_score == 0.75


@pytest.mark.parametrize("wrong", ["class", "raise RuntimeError", OWN.replace("my-", "queue-")])
def test_a_wrong_file_of_own_plugins_keeps_everything(tmp_path: Path, wrong: str) -> None:
    world = World(tmp_path, OWN_CONFIG, OWN.format(score=0.25))
    before = world.routing.config
    world.write_own(wrong)
    for _ in range(2):
        world.routing.reload()
        assert world.routing.config is before
    world.write_own(OWN.format(score=0.75))
    world.routing.reload()
    assert world.probe.configs == [True, False, False, True]
    assert world.own_score == 0.75


MADE = "    def describe"


@pytest.mark.parametrize(
    "wrong",
    [
        "    def __init__(self) -> None:\n        raise RuntimeError\n\n",
        "    def __init__(self) -> None:\n        raise SystemExit\n\n",
        "    consumes = property(lambda self: 1 / 0)\n\n",
        "    consumes = 7\n\n",
        "    name = property(lambda self: 1 / 0)\n\n",
    ],
    ids=["raises", "exits", "consumes", "no-keys", "name"],
)
def test_a_plugin_that_cannot_be_made_does_not_end_the_picker(tmp_path: Path, wrong: str) -> None:
    world = World(tmp_path, OWN_CONFIG, OWN.format(score=0.25))
    before = world.routing.config, world.routing.director
    world.write_own(OWN.replace(MADE, wrong + MADE).format(score=0.5))
    world.routing.reload()
    assert (world.routing.config, world.routing.director) == before
    assert world.probe.configs == [True, False]


DISCOVERY = """\
- type: file-discovery
  parameters:
    path: {path}
"""


def test_another_discovery_waits_for_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def with_discovery(name: str) -> str:
        text = config().replace(
            "schedulingProfiles:", DISCOVERY.format(path=name) + "schedulingProfiles:"
        )
        return text + "dataLayer:\n  discovery:\n    pluginRef: file-discovery\n"

    world = World(tmp_path, with_discovery("/tmp/one"))
    world.change(with_discovery("/tmp/one").replace("weight: 1.0", "weight: 2.0"))
    world.routing.reload()
    assert world.probe.configs == [True, True]
    assert "discovery" not in caplog.text
    world.change(with_discovery("/tmp/two"))
    world.routing.reload()
    assert world.probe.configs == [True, True, True]
    assert "Another discovery takes effect with the next start only" in caplog.messages


@asynccontextmanager
async def followed(world: World) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.routing.follow())
        await asyncio.sleep(POLL / 2)
        yield
        task.cancel()


@pytest.mark.looptime
async def test_files_that_do_not_change_are_read_once(tmp_path: Path) -> None:
    world = World(tmp_path, OWN_CONFIG, OWN.format(score=0.25))
    async with followed(world):
        await asyncio.sleep(10 * POLL)
    assert world.probe.configs == [True]


@pytest.mark.looptime
async def test_a_file_that_changed_between_the_start_and_the_first_look_is_taken_over(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, config())
    world.change(config(weight=2.0))
    async with followed(world):
        await asyncio.sleep(3 * POLL)
    assert world.probe.configs == [True, True]


@pytest.mark.looptime
async def test_changes_are_taken_over_and_wrong_ones_followed_by_right_ones(tmp_path: Path) -> None:
    world = World(tmp_path, OWN_CONFIG, OWN.format(score=0.25))
    async with followed(world):
        world.change("[")
        await asyncio.sleep(3 * POLL)
        world.change(OWN_CONFIG)
        await asyncio.sleep(3 * POLL)
        world.write_own(OWN.format(score=0.75))
        await asyncio.sleep(3 * POLL)
    assert world.probe.configs == [True, False, True, True]
    assert world.own_score == 0.75
