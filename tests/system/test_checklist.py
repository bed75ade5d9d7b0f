"""What a drop-in for the upstream pickers has to do, point by point, on a real process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from epp.extproc.pb import ext_proc_pb2 as pb
from epp.extproc.servicer import SERVICE
from epp.flags.table import FLAGS
from epp.tls.certificates import make_self_signed
from lab.endpoints import LabEndpoint
from lab.picker import Picker, run_picker
from tests.system.conftest import run_to_its_end
from tests.tls.handshakes import client_context, der, write_pair

pytestmark = pytest.mark.system

# The older picker's command line, every flag with a value that it takes.
SEED_FLAGS = {
    "metrics-endpoint-auth": "false",
    "enable-pprof": "true",
    "pool-name": "pool",
    "pool-group": "inference.networking.k8s.io",
    "pool-namespace": "namespace",
    "secure-serving": "true",
    "health-checking": "false",
    "cert-path": "",
    "total-queued-requests-metric": "vllm:num_requests_waiting",
    "kv-cache-usage-percentage-metric": "vllm:gpu_cache_usage_perc",
    "lora-info-metric": "vllm:lora_requests_info",
    "cache-info-metric": "vllm:cache_config_info",
    "refresh-metrics-interval": "50ms",
    "refresh-prometheus-metrics-interval": "5s",
    "metrics-staleness-threshold": "2s",
    "config-file": "",
    "config-text": "",
    "model-server-metrics-port": "0",
    "model-server-metrics-path": "/metrics",
    "model-server-metrics-scheme": "http",
    "model-server-metrics-https-insecure-skip-verify": "true",
    "ha-enable-leader-election": "false",
    "tracing": "false",
    "zap-devel": "true",
    "zap-encoder": "json",
    "zap-stacktrace-level": "error",
    "zap-time-encoding": "rfc3339",
    "kubeconfig": "",
}
ROUTER_FLAGS = {
    "disable-endpoint-subset-filter": "false",
    "emit-endpoint-scores": "true",
    "drain-timeout": "30s",
    "grpc-max-recv-msg-size": "10MiB",
    "enable-cert-reload": "true",
    "tls-min-version": "VersionTLS12",
    "tls-cipher-suites": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "enable-grpc-stream-metrics": "false",
    "allow-experimental-plugins": "false",
    "total-running-requests-metric": "vllm:num_requests_running",
}


def log_lines(picker: Picker) -> list[dict[str, Any]]:
    """What a picker with the JSON encoder has logged, whole lines only."""
    whole, _, _ = picker.process.log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def said(picker: Picker, msg: str) -> list[dict[str, Any]]:
    """The log lines with this message."""
    return [line for line in log_lines(picker) if line["msg"] == msg]


def until(is_so: Callable[[], bool]) -> None:
    """Wait, twenty seconds at most."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def spelled(flags: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def test_checklist_02_flags_are_read_as_go_reads_them(tmp_path: Path) -> None:
    json_lines = ["--zap-encoder", "json", "--endpoints-file", "none.yaml"]
    for verbosity in (["-v=4"], ["--v", "4"], ["--v=4"], ["-v4"]):
        ended = run_to_its_end(*json_lines, *verbosity)
        (flags,) = [
            line["flags"]
            for line in map(json.loads, ended.stderr.splitlines())
            if line["msg"] == "Flags processed"
        ]
        assert flags["v"] == "4"
        assert set(flags) == {flag.name for flag in FLAGS}
    unreadable = run_to_its_end("--pool-name=p", "--refresh-metrics-interval", "50")
    assert unreadable.returncode == 2
    assert 'invalid value "50" for flag -refresh-metrics-interval: parse error' in unreadable.stderr
    assert "Usage" in unreadable.stderr
    with run_picker(tmp_path, [], flags=["--zap-encoder=json", "--lora-info-metric", ""]) as picker:
        assert len(said(picker, "Not scraping metric: LoraRequestInfo")) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], 'required "poolName" flag not set'),
        (
            ["--pool-name=p", "--endpoint-selector=app=x"],
            "either pool-name or endpoint-selector must be set",
        ),
        (
            ["--endpoint-selector=app=x"],
            'flag "endpoint-target-ports" should have length from 1 to 8',
        ),
        (["--pool-name=p", "--pool-group=x"], "unknown group: x"),
    ],
)
def test_checklist_02_flags_that_do_not_fit_are_one_error_line(
    arguments: Sequence[str], problem: str
) -> None:
    ended = run_to_its_end("--zap-encoder", "json", *arguments)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["msg"], line["error"]) for line in lines if line["level"] == "error"] == [
        ("Failed to validate flags", problem)
    ]
    assert ended.returncode == 1


async def greeting(port: int, context: ssl.SSLContext) -> tuple[bytes, bytes]:
    """The server's certificate, and the head of the first frame it sends; nothing if refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        frame = await reader.read(9)
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True), frame
    finally:
        writer.close()


def is_settings(frame: bytes) -> bool:
    return frame[3:4] == b"\x04"


async def test_checklist_04_tls_with_h2_needs_no_verification(
    tmp_path: Path, transport: str
) -> None:
    with run_picker(tmp_path, [], flags=[transport]) as picker:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            _, frame = await greeting(picker.port, client_context(version=version))
            assert is_settings(frame)
        with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset
            await greeting(picker.port, client_context(version=ssl.TLSVersion.TLSv1_1))


async def test_checklist_04_tls_without_h2_is_refused(tmp_path: Path, transport: str) -> None:
    with run_picker(tmp_path, [], flags=[transport]) as picker:
        for protocols in ([], ["http/1.1"]):
            heard = b""
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", picker.port, ssl=client_context(protocols=protocols)
                )
                heard = await asyncio.wait_for(reader.read(), 9)  # to the connection's end
                writer.close()
            assert heard == b"" or b"no h2 by ALPN" in heard


async def test_checklist_04_a_renewed_certificate_is_used(tmp_path: Path, transport: str) -> None:
    old, new = make_self_signed(), make_self_signed(is_rsa=True)
    folder = tmp_path / "certificate"
    folder.mkdir()
    write_pair(folder, old)
    flags = [transport, f"--cert-path={folder}", "--zap-encoder=json"]
    with run_picker(tmp_path, [], flags=flags) as picker:
        assert (await greeting(picker.port, client_context()))[0] == der(old)
        (folder / "tls.key").write_bytes(new.key)
        until(lambda: bool(said(picker, "Keeping the last good certificate")))
        assert (await greeting(picker.port, client_context()))[0] == der(old)
        (folder / "tls.crt").write_bytes(new.chain)
        until(lambda: bool(said(picker, "Loaded the new certificate")))
        assert (await greeting(picker.port, client_context()))[0] == der(new)
        assert len(said(picker, "Keeping the last good certificate")) == 1


async def test_checklist_04_without_reload_the_first_certificate_stays(tmp_path: Path) -> None:
    old = make_self_signed()
    folder = tmp_path / "certificate"
    folder.mkdir()
    write_pair(folder, old)
    flags = [f"--cert-path={folder}", "--enable-cert-reload=false", "--zap-encoder=json"]
    with run_picker(tmp_path, [], flags=flags) as picker:
        write_pair(folder, make_self_signed())
        await asyncio.sleep(2)
        assert (await greeting(picker.port, client_context()))[0] == der(old)


async def test_checklist_04_oldest_version_and_suites_are_chosen(tmp_path: Path) -> None:
    flags = ["--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]
    with run_picker(tmp_path, [], flags=flags) as picker:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", picker.port, ssl=client_context(version=ssl.TLSVersion.TLSv1_2)
        )
        assert writer.get_extra_info("cipher")[0] == "ECDHE-RSA-AES256-GCM-SHA384"
        writer.close()
    with run_picker(tmp_path, [], flags=["--tls-min-version=VersionTLS13"]) as picker:
        with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset
            await greeting(picker.port, client_context(version=ssl.TLSVersion.TLSv1_2))
        assert is_settings((await greeting(picker.port, client_context()))[1])


async def ask(picker: Picker) -> pb.ProcessingResponse:
    """The answer to a request's headers and body, on a connection of its own."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.port}") as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/Process")()
        await call.write(pb.ProcessingRequest(request_headers=pb.HttpHeaders()).SerializeToString())
        body = pb.HttpBody(body=b'{"model":"m","prompt":"x"}', end_of_stream=True)
        await call.write(pb.ProcessingRequest(request_body=body).SerializeToString())
        answer = pb.ProcessingResponse.FromString(await call.read())
        await call.done_writing()
        await call.wait_for_connection()
        return answer


A, B = LabEndpoint("a", "127.0.0.1", 1), LabEndpoint("b", "127.0.0.1", 2)


async def test_checklist_04_without_tls_clients_need_no_upgrade(
    tmp_path: Path, transport: str
) -> None:
    flags = [transport, "--secure-serving=false", "--emit-endpoint-scores"]
    with run_picker(tmp_path, [A, B], flags=flags) as picker:
        answer = await ask(picker)
        lb = answer.dynamic_metadata.fields["envoy.lb"].struct_value.fields
        assert lb["x-gateway-destination-endpoint"].string_value in ("127.0.0.1:1", "127.0.0.1:2")
        scores = lb["x-gateway-destination-endpoint-scores"].struct_value.fields
        assert set(scores) == {"127.0.0.1:1", "127.0.0.1:2"}


async def test_checklist_15_a_log_line_has_upstream_s_keys_in_order(tmp_path: Path) -> None:
    flags = ["--zap-encoder", "json", "--secure-serving=false", "--total-queued-requests-metric="]
    with run_picker(tmp_path, [A], flags=flags, verbosity=4) as picker:
        await ask(picker)
        until(lambda: len(said(picker, "Request handled")) == 1)
        lines = log_lines(picker)
    for line in lines:
        assert list(line)[:5] == ["level", "ts", "logger", "caller", "msg"]
    by_msg = {line["msg"]: line for line in lines}
    assert list(by_msg["GIE build"])[5:] == ["commit-sha", "build-ref"]
    assert by_msg["Flags processed"]["flags"]["total-queued-requests-metric"] == ""
    assert by_msg["Flags processed"]["flags"]["secure-serving"] == "false"
    assert {"Loaded configuration", "Not scraping metric: TotalQueuedRequests"} <= set(by_msg)
    assert by_msg["Request handled"]["level"] == "Level(-3)"


async def test_checklist_15_at_verbosity_4_a_request_is_one_line(tmp_path: Path) -> None:
    flags = ["--zap-encoder", "json", "--secure-serving=false"]
    with run_picker(tmp_path, [A, B], flags=flags, verbosity=4) as picker:
        before = len(log_lines(picker))
        for _ in range(20):
            await ask(picker)
        until(lambda: len(said(picker, "Request handled")) == 20)
        others = [line for line in log_lines(picker)[before:] if line["msg"] != "Request handled"]
        # of no request: that this machine is slow
        assert [line for line in others if line["level"] != "warn"] == []


def test_checklist_16_every_flag_of_the_pickers_is_taken(tmp_path: Path) -> None:
    for flags in (SEED_FLAGS, SEED_FLAGS | ROUTER_FLAGS):
        with run_picker(tmp_path, [], flags=spelled(flags)) as picker:
            lines = log_lines(picker)
            remarks = [line["msg"] for line in lines if line["level"] in ("warn", "error")]
            assert remarks == [
                "--health-checking has no effect: health is always served on the ext_proc port"
            ]
            (processed,) = [line for line in lines if line["msg"] == "Flags processed"]
            assert {name: processed["flags"][name] for name in flags} == flags


def test_checklist_16_the_pages_of_istio_and_helm_are_taken(tmp_path: Path) -> None:
    config = Path("config/picker/default-plugins.yaml").read_text()
    istio = [
        *("--pool-name", "inference-model-server-pool"),
        *("--pool-namespace", "inference-model-server"),
        *("--v", "4", "--zap-encoder", "json"),
    ]
    with run_picker(tmp_path, [], config=config, flags=istio) as picker:
        assert [line for line in log_lines(picker) if line["level"] in ("warn", "error")] == []
    helm = [*istio, "--secure-serving", "false", "--zap-log-level", "info"]
    with run_picker(tmp_path, [], config=config, flags=helm) as picker:
        (warning,) = [line for line in log_lines(picker) if line["level"] == "warn"]
        assert "write it that way" in warning["msg"]
