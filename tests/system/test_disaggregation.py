"""Prefill and decode on two pools: a real Envoy, the picker, simulators, a sidecar's stand-in."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from lab.endpoints import LabEndpoint
from lab.envoy import run_envoy
from lab.picker import Picker, run_picker
from lab.sidecar import Served, Sidecar, run_sidecar
from lab.simulators import run_simulators

pytestmark = pytest.mark.system

CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: disagg-profile-handler
  parameters:
    deciders:
      prefill: prefix-based-pd-decider
- type: prefix-based-pd-decider
  parameters:
    nonCachedTokens: 256
- type: prefill-filter
- type: decode-filter
- type: prefix-cache-scorer
schedulingProfiles:
- name: prefill
  plugins:
  - pluginRef: prefill-filter
  - pluginRef: prefix-cache-scorer
- name: decode
  plugins:
  - pluginRef: decode-filter
  - pluginRef: prefix-cache-scorer
"""
MODEL = "m"
LONG = "The reviewers of the Globe, the Rose and the Swan agree on little. " * 60
SHORT = "What do reviewers think?"
ROUTING_HEADERS = (
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
)


class World(msgspec.Struct, frozen=True):
    """Two endpoints that prefill, two that decode behind sidecars, and a client of Envoy."""

    picker: Picker
    client: ClientSession
    prefillers: list[LabEndpoint]
    sidecars: list[Sidecar]

    async def complete(
        self, prompt: str, headers: dict[str, str] | None = None
    ) -> tuple[int, str, Served | None]:
        """Status and text of an answer, and what a sidecar did for it."""
        before = {id(served) for served in self.served}
        body = {"model": MODEL, "prompt": prompt, "max_tokens": 8, "ignore_eos": True}
        async with self.client.post("/v1/completions", json=body, headers=headers) as response:
            text = await response.text()
        new = [served for served in self.served if id(served) not in before]
        assert len(new) <= 1
        return response.status, text, new[0] if new else None

    @property
    def served(self) -> list[Served]:
        return [served for sidecar in self.sidecars for served in sidecar.served]

    @property
    def prefill_addresses(self) -> list[str]:
        return [f"{e.address}:{e.port}" for e in self.prefillers]

    async def decisions(self) -> dict[str, float]:
        """How many requests there were of each kind."""
        page = await asyncio.to_thread(self.picker.metrics)
        counted = re.findall(
            r'^llm_d_epp_disagg_decision_total\{decision_type="([a-z-]+)".*\} (\d+)$', page, re.M
        )
        return {kind: float(count) for kind, count in counted}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as parts:
        flags = ["--enable-kvcache"]
        prefill, decode = (
            parts.enter_context(
                run_simulators(tmp_path, replicas=2, model=MODEL, flags=flags)
            ).endpoints
            for _ in range(2)
        )
        sidecars = [await parts.enter_async_context(run_sidecar(server)) for server in decode]
        prefillers = [
            msgspec.structs.replace(e, name=f"p{i}", labels={"llm-d.ai/role": "prefill"})
            for i, e in enumerate(prefill)
        ]
        decoders = [
            LabEndpoint(f"d{i}", "127.0.0.1", s.port, labels={"llm-d.ai/role": "decode"})
            for i, s in enumerate(sidecars)
        ]
        endpoints = [*prefillers, *decoders]
        picker = parts.enter_context(run_picker(tmp_path, endpoints, config=CONFIG))
        envoy = parts.enter_context(
            run_envoy(tmp_path, picker_port=picker.port, endpoints=endpoints)
        )
        client = await parts.enter_async_context(
            ClientSession(envoy.url, timeout=ClientTimeout(total=30))
        )
        await all_read(sidecars)
        yield World(picker, client, prefillers, sidecars)


async def all_read(sidecars: list[Sidecar]) -> None:
    """Wait until the picker asks again for metrics: then it has read them once.

    Endpoints that never answered are candidates only where nobody else is, whatever their role.
    """
    for _ in range(600):
        if all(sidecar.others >= 2 for sidecar in sidecars):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("the picker does not read the metrics of the endpoints that decode")


def answered(text: str) -> tuple[str, int]:
    """Why an answer ended, and after how many tokens."""
    answer: dict[str, Any] = json.loads(text)
    return answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]


async def test_a_long_new_prompt_is_prefilled_first_and_decoded_only_when_it_comes_again(
    world: World,
) -> None:
    status, text, served = await world.complete(LONG)
    assert (status, *answered(text)) == (200, "length", 8)
    assert served is not None
    prefill, decode = served.legs
    assert prefill.destination in world.prefill_addresses
    assert json.loads(prefill.body)["max_tokens"] == 1
    assert decode.destination not in world.prefill_addresses
    transfer = json.loads(decode.body)["kv_transfer_params"]
    assert (transfer["do_remote_prefill"], transfer["remote_engine_id"]) == (True, "DUMMY_ID")
    assert json.loads(decode.body)["max_tokens"] == 8

    status, text, again = await world.complete(LONG)
    assert (status, *answered(text)) == (200, "length", 8)
    assert again is not None
    assert again.destinations == [decode.destination]
    assert await world.decisions() == {"prefill-decode": 1, "decode-only": 1}


async def test_a_long_prompt_may_be_streamed(world: World) -> None:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": LONG}],
        "max_tokens": 8,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with world.client.post("/v1/chat/completions", json=body) as response:
        assert response.status == 200
        text = await response.text()
    assert text.endswith("data: [DONE]\n\n")
    assert '"usage":{"prompt_tokens"' in text
    (served,) = world.served
    assert [destination in world.prefill_addresses for destination in served.destinations] == [
        True,
        False,
    ]


async def test_a_short_prompt_is_only_decoded(world: World) -> None:
    status, text, served = await world.complete(SHORT)
    assert (status, *answered(text)) == (200, "length", 8)
    assert served is not None
    assert len(served.legs) == 1
    assert await world.decisions() == {"decode-only": 1}


async def test_no_client_chooses_where_the_sidecar_sends_it(world: World) -> None:
    nowhere = dict.fromkeys(ROUTING_HEADERS, "127.0.0.1:1")
    status, _, served = await world.complete(SHORT, nowhere)
    assert status == 200
    assert served is not None
    assert served.headers.keys().isdisjoint(ROUTING_HEADERS)
    status, _, served = await world.complete(LONG, nowhere)
    assert status == 200
    assert served is not None
    assert served.headers["x-prefiller-host-port"] in world.prefill_addresses
    assert served.headers.keys().isdisjoint(ROUTING_HEADERS[1:])


async def test_without_an_endpoint_that_decodes_there_is_no_answer(world: World) -> None:
    world.picker.set_endpoints(world.prefillers)
    status, text = 200, ""
    async with asyncio.timeout(30):
        while status == 200:  # the picker reads its file once in a while
            await asyncio.sleep(0.1)
            status, text, _ = await world.complete(SHORT)
    assert status == 429
    assert "failed to find available decode workers" in text


async def test_a_client_can_insist_on_a_cached_prompt(world: World) -> None:
    prefer = {"prefer": "if-available"}
    status, text, served = await world.complete(LONG, prefer)
    assert (status, served) == (412, None)
    assert "no decode worker has the requested KV cache" in text
    await world.complete(LONG)
    status, _, _ = await world.complete(LONG, prefer)
    assert status == 200
