"""The picker as a process: flags, ports, bad input, health and shutdown."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import ClientError, ClientSession
from grpc_health.v1 import health_pb2, health_pb2_grpc

from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.servicer import SERVICE
from epp.tls.certificates import make_self_signed
from lab import http
from lab.picker import PickerPorts, run_picker
from tests.system.conftest import Gateway, run_to_its_end
from tests.system.upstreams import EVENT
from tests.tls.handshakes import Authority, client_context, write_pair

pytestmark = pytest.mark.system


ENDPOINTS = 'endpoints:\n- {name: a, address: 127.0.0.1, port: "8001"}\n'


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--no-such-flag"], 2, ["flag provided but not defined: -no-such-flag", "Usage"]),
        (["--grpc-port", "x"], 2, ['invalid value "x" for flag -grpc-port: parse error']),
        ([], 1, ['required \\"poolName\\" flag not set']),
        (["--pool-name", "p"], 1, ["no Kubernetes configuration: no --kubeconfig, no $KUBECONFIG"]),
        (["--pool-name", "p", "--kubeconfig", "no"], 1, ["rest config: no: no such file"]),
        (["--pool-name", "p", "--kubeconfig", "bad.yaml"], 1, ["rest config: bad.yaml: "]),
        (["--endpoints-file", "missing.yaml"], 1, ["missing.yaml"]),
        (["--endpoints-file", "bad.yaml"], 1, ["bad.yaml:2", "endpoints[0].port"]),
        (["--endpoints-file", "good.yaml", "--cert-path", "nowhere"], 1, ["nowhere/tls.crt"]),
        (
            ["--endpoints-file", "good.yaml", "--metrics-cert-dir", "nowhere"],
            1,
            ["nowhere/tls.crt"],
        ),
        (
            ["--endpoints-file", "good.yaml", "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_RC4_128_SHA"],
            1,
            ["OpenSSL has none of the cipher suites ECDHE-RSA-RC4-SHA"],
        ),
        (["--endpoints-file", "good.yaml", "--config-file", "no.yaml"], 1, ["'no.yaml'"]),
        (
            ["--endpoints-file", "good.yaml", "--config-text", "plugins:\n- type: nope"],
            1,
            [
                "--config-text:2:3: error: plugins[0].type: plugin type 'nope' is not found in "
                "registry"
            ],
        ),
        (["--help"], 0, ["--pool-name", "--config-file"]),
    ],
)
def test_a_start_that_cannot_be_says_why_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    told: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(ENDPOINTS)
    (tmp_path / "bad.yaml").write_text(ENDPOINTS.replace("8001", "none"))
    ended = run_to_its_end("--zap-encoder", "json", *arguments)
    assert ended.returncode == status, ended.stderr
    for text in told:
        assert text in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    if status == 1:
        assert len([line for line in ended.stderr.splitlines() if "error" in line]) == 1


def test_variables_of_the_2025_release_are_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.yaml").write_text(ENDPOINTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SD_QUEUE_DEPTH_THRESHOLD", "9")
    monkeypatch.setenv("ENABLE_EXPERIMENTAL_DATALAYER_V2", "true")
    ended = run_to_its_end("--endpoints-file", "good.yaml", "--cert-path", "nowhere")
    told = [line for line in ended.stderr.splitlines() if "SD_" in line or "ENABLE_" in line]
    assert len(told) == 2
    assert all("info" in line.lower() for line in told)


async def test_health_is_served_on_both_ports_whatever_the_name(gateway: Gateway) -> None:
    ports = gateway.picker.ports
    names = ["inference-extension", "", "envoy.service.ext_proc.v3.ExternalProcessor"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.health}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in names:
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in health.Watch(health_pb2.HealthCheckRequest()):
                pass
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_on_the_ext_proc_port_without_tls(tmp_path: Path, transport: str) -> None:
    with run_picker(tmp_path, [], flags=[transport, "--secure-serving=false"]) as picker:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(
                health_pb2.HealthCheckRequest(service="envoy.service.ext_proc.v3.ExternalProcessor")
            )
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_checklist_13_sigterm_lets_a_running_stream_finish_and_exits_0(
    gateway: Gateway,
) -> None:
    async with gateway.client.post(
        "/v1/completions?events=-2", data=b'{"model":"m","prompt":"x"}'
    ) as response:
        assert await response.content.readline() == EVENT.splitlines()[0] + b"\n"
        gateway.picker.process.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert gateway.picker.process.running
        for upstream in gateway.upstreams:
            upstream.release.set()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
    assert await asyncio.to_thread(gateway.picker.process.wait, 20) == 0


def test_without_streams_sigterm_ends_the_process_at_once(tmp_path: Path, transport: str) -> None:
    with run_picker(tmp_path, [], flags=[transport]) as picker:
        picker.process.signal(signal.SIGTERM)
        assert picker.process.wait(20) == 0


def test_a_connection_without_streams_does_not_hold_the_process_up(
    tmp_path: Path, transport: str
) -> None:
    with (
        run_picker(tmp_path, [], flags=[transport]) as picker,
        socket.create_connection(("127.0.0.1", picker.port)),
    ):
        picker.process.signal(signal.SIGTERM)
        assert picker.process.wait(15) == 0  # without care it is the drain timeout, 25 s


def test_a_cpu_profile_is_taken_on_a_signal_and_does_not_hold_the_process_up(
    tmp_path: Path,
) -> None:
    with run_picker(tmp_path, [], flags=["--drain-delay", "0"]) as picker:
        picker.process.signal(signal.SIGUSR2)
        deadline = time.monotonic() + 20
        while "Taking a CPU profile" not in picker.process.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert http.get(picker.ports.metrics, "/debug/profile?seconds=1")[0] == 409
        picker.process.signal(signal.SIGTERM)
        assert picker.process.wait(15) == 0  # without care it is the 30 s of the profile


def test_without_pprof_there_is_no_profile(tmp_path: Path) -> None:
    with run_picker(tmp_path, [], flags=["--enable-pprof=false"]) as picker:
        assert http.get(picker.ports.metrics, "/debug/profile?seconds=1")[0] == 404


async def test_the_metrics_port_is_https_for_clients_with_a_certificate(tmp_path: Path) -> None:
    authority = Authority()
    write_pair(tmp_path, make_self_signed())
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    flags = [
        *("--metrics-endpoint-auth=false", f"--metrics-cert-dir={tmp_path}"),
        f"--metrics-client-ca-file={tmp_path / 'ca.crt'}",
    ]
    known = client_context(pair=authority.client())
    with run_picker(tmp_path, [], flags=flags) as picker:
        page = f"https://127.0.0.1:{picker.ports.metrics}/metrics"
        async with ClientSession() as client:
            async with client.get(page, ssl=known) as answer:
                assert "inference_pool_ready_pods" in await answer.text()
            with pytest.raises(ClientError):
                await client.get(page, ssl=client_context())


async def test_a_stream_that_does_not_end_is_ended_by_the_drain_timeout(
    tmp_path: Path, transport: str
) -> None:
    flags = [transport, "--drain-timeout", "1s", "--drain-delay", "20s", "--secure-serving=false"]
    with run_picker(tmp_path, [], flags=flags) as picker:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.port}") as channel:
            call: Any = channel.stream_stream(f"/{SERVICE}/Process")()
            await call.write(
                pb.ProcessingRequest(request_headers=pb.HttpHeaders()).SerializeToString()
            )
            picker.process.signal(signal.SIGTERM)
            assert await asyncio.wait_for(call.code(), 15) is grpc.StatusCode.UNAVAILABLE
            assert await asyncio.to_thread(picker.process.wait, 15) == 0


async def test_while_draining_health_says_no_and_streams_are_still_taken(
    tmp_path: Path, transport: str
) -> None:
    flags = [transport, "--drain-delay", "20s", "--secure-serving=false"]
    with run_picker(tmp_path, [], flags=flags) as picker:
        picker.process.signal(signal.SIGTERM)
        for _ in range(200):
            if not picker.is_serving():
                break
            await asyncio.sleep(0.02)
        assert not picker.is_serving()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.port}") as channel:
            call: Any = channel.stream_stream(f"/{SERVICE}/Process")()
            headers = pb.HttpHeaders(end_of_stream=True)
            await call.write(pb.ProcessingRequest(request_headers=headers).SerializeToString())
            answer = pb.ProcessingResponse.FromString(await call.read())
            assert answer.immediate_response.status.code == 503  # an empty pool, but answered
        picker.process.signal(signal.SIGTERM)
        assert picker.process.wait(15) == 1  # the second signal ends it at once


def test_a_taken_port_is_told(tmp_path: Path, transport: str) -> None:
    with run_picker(tmp_path, [], flags=[transport]) as picker:
        ports = PickerPorts.free()
        ended = run_to_its_end(
            transport,
            *["--endpoints-file", str(picker.endpoints_file)],
            *["--grpc-port", str(picker.port), "--grpc-health-port", str(ports.health)],
            *["--metrics-port", str(ports.metrics)],
        )
        assert ended.returncode == 1
        assert f"cannot listen on port {picker.port}" in ended.stderr


async def test_a_broken_endpoints_file_keeps_the_last_good_one(gateway: Gateway) -> None:
    good = gateway.picker.endpoints_file.read_text()
    gateway.picker.endpoints_file.write_text("endpoints: [{name: x}]")
    for _ in range(100):
        if "Keeping the last good endpoints" in gateway.picker.process.describe():
            break
        await asyncio.sleep(0.1)
    assert "Keeping the last good endpoints" in gateway.picker.process.describe()
    async with gateway.client.get("/v1/models") as response:
        assert response.status == 200
    gateway.picker.endpoints_file.write_text(good)


def test_the_image_s_commit_and_reference_are_told(tmp_path: Path) -> None:
    build = {"EPP_COMMIT": "c0ffee", "EPP_BUILD_REF": "v1"}
    with run_picker(tmp_path, [], environment=build) as picker:
        page = picker.metrics()
    assert 'inference_extension_info{build_ref="v1",commit="c0ffee"} 1' in page
