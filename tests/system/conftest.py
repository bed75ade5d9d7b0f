from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from lab.envoy import Envoy, run_envoy
from lab.picker import Picker, run_picker
from tests.system.upstreams import Upstream, run_upstream


class Gateway(msgspec.Struct, frozen=True):
    """A real Envoy, the picker behind it, two model servers, and a client."""

    envoy: Envoy
    picker: Picker
    upstreams: list[Upstream]
    client: ClientSession

    def running_requests(self) -> float:
        """The gauge of requests that are on a model server, summed over the models."""
        lines = self.picker.metrics().splitlines()
        gauge = "inference_objective_running_requests{"
        return sum(float(line.split()[-1]) for line in lines if line.startswith(gauge))


def run_to_its_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The picker with these arguments, which do not let it live.

    It does not find a cluster that this machine's user may have.
    """
    cluster = ("HOME", "KUBECONFIG", "KUBERNETES_SERVICE_HOST")
    return subprocess.run(
        [sys.executable, "-m", "epp", *arguments],
        env={name: value for name, value in os.environ.items() if name not in cluster},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(params=["http2", "grpcio"])
def transport(request: pytest.FixtureRequest) -> str:
    """The flag that chooses who serves gRPC."""
    return f"--transport={request.param}"


@pytest_asyncio.fixture
async def gateway(tmp_path: Path, transport: str) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as parts:
        upstreams = [await parts.enter_async_context(run_upstream()) for _ in range(2)]
        endpoints = [upstream.endpoint for upstream in upstreams]
        picker = parts.enter_context(run_picker(tmp_path, endpoints, flags=[transport]))
        envoy = parts.enter_context(
            run_envoy(tmp_path, picker_port=picker.port, endpoints=endpoints)
        )
        client = await parts.enter_async_context(
            ClientSession(envoy.url, timeout=ClientTimeout(total=30))
        )
        yield Gateway(envoy, picker, upstreams, client)
