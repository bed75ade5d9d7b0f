from __future__ import annotations

from typing import Any

import msgspec
import pytest

from epp.flags.options import Options, read_options, usage_text
from epp.flags.table import FLAGS
from epp.goflags import Kind, UsageError

ISTIO = [
    "--pool-name", "inference-model-server-pool",
    "--pool-namespace", "inference-model-server",
    "--v", "4", "--zap-encoder", "json",
    "--config-file", "/config/default-plugins.yaml",
]  # fmt: skip


def options(*argv: str, **environ: str) -> Options:
    return read_options(["--pool-name", "p", *argv], environ)[0]


def notices(*argv: str) -> list[str]:
    return read_options(["--pool-name", "p", *argv], {})[1]


def test_every_flag_is_one_option() -> None:
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
    assert len(Options.__struct_fields__) == len(FLAGS) + 2
    assert all(f"--{flag.name}" in usage_text() for flag in FLAGS)


def test_the_command_line_of_the_istio_page_is_taken_without_remark() -> None:
    read, remarks = read_options(ISTIO, {})
    assert remarks == []
    assert read.pool_name == "inference-model-server-pool"
    assert read.pool_namespace == "inference-model-server"
    assert (read.verbosity, read.zap_encoder) == (4, "json")
    assert read.config_file == "/config/default-plugins.yaml"
    assert not read.kv_metric_given


@pytest.mark.parametrize(
    ("argv", "field", "expected"),
    [
        ([], "refresh_metrics_interval_seconds", 0.05),
        ([], "drain_delay_seconds", 5.0),
        ([], "drain_timeout_seconds", 25.0),
        ([], "decision_timeout_seconds", 60.0),
        ([], "grpc_max_recv_msg_bytes", 64 * 2**20),
        (["--grpc-max-recv-msg-size=0"], "grpc_max_recv_msg_bytes", 64 * 2**20),
        (["--grpc-max-recv-msg-size", "10MiB"], "grpc_max_recv_msg_bytes", 10 * 2**20),
        ([], "model_server_metrics_port", 0),
        ([], "zap_encoder", "console"),
        (["--zap-devel=false"], "zap_encoder", "json"),
        (["--zap-encoder=JSON"], "zap_encoder", "json"),
        (["--zap-log-level=ERROR"], "zap_log_level", "error"),
        (["--zap-log-level=0x5"], "zap_log_level", "5"),
        (["--kv-cache-usage-percentage-metric", ""], "kv_metric_given", True),
        (["--drain-timeout", "0"], "drain_timeout_seconds", 0.0),
        (["--grpc-port=0"], "grpc_port", 0),
        ([], "cpu_profile", ""),
        (["--cpu-profile=/p.txt"], "cpu_profile", "/p.txt"),
        (["--enable-pprof=false"], "enable_pprof", False),
        (["--metrics-port=65535"], "metrics_port", 65535),
        (["--v=-1"], "verbosity", 2),
        (["--v=0"], "verbosity", 0),
        ([], "zap_stacktrace_level", "warn"),
        (["--zap-devel=false"], "zap_stacktrace_level", "error"),
        (["--zap-stacktrace-level=PANIC"], "zap_stacktrace_level", "panic"),
        ([], "endpoint_target_ports", ()),
        (
            ["--endpoint-target-ports=8002,8001", "--endpoint-target-ports", "8002, 8003"],
            "endpoint_target_ports",
            (8002, 8001, 8003),
        ),
        ([], "enable_cert_reload", True),
        ([], "total_running_requests_metric", "vllm:num_requests_running"),
        (["--tls-cipher-suites=A,,B"], "tls_cipher_suites", ("A", "", "B")),
        ([], "grpc_max_send_msg_bytes", 0),
        ([], "plugin_dir", ()),
        (["--plugin-dir=/a,/b", "--plugin-dir", "/a", "--plugin-dir="], "plugin_dir", ("/a", "/b")),
        ([], "plugin_budget_seconds", 0.002),
        ([], "plugin_hard_limit_seconds", 0.2),
        (["--plugin-hard-limit=0"], "plugin_hard_limit_seconds", 0.0),
        (["--grpc-max-recv-msg-size=2147483647"], "grpc_max_recv_msg_bytes", 2**31 - 1),
    ],
)
def test_options_are_made_of_flags(argv: list[str], field: str, expected: object) -> None:
    assert getattr(options(*argv), field) == expected


@pytest.mark.parametrize(
    ("argv", "environ", "namespace"),
    [
        (["--pool-namespace", "flag"], {"NAMESPACE": "env"}, "flag"),
        (["--pool-namespace", ""], {"NAMESPACE": "env"}, "env"),
        ([], {"NAMESPACE": ""}, "default"),
        ([], {}, "default"),
    ],
)
def test_the_namespace_is_the_flag_or_the_variable_or_default(
    argv: list[str], environ: dict[str, str], namespace: str
) -> None:
    assert options(*argv, **environ).pool_namespace == namespace


def test_with_an_endpoints_file_the_pool_needs_no_name() -> None:
    read, _ = read_options(["--endpoints-file", "e.yaml"], {})
    assert (read.pool_name, read.endpoints_file) == ("", "e.yaml")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--zap-encoder=xml"], 'for flag -zap-encoder: invalid encoder value "xml"'),
        (["--zap-log-level=0"], 'for flag -zap-log-level: invalid log level "0"'),
        (["--zap-time-encoding=x"], "for flag -zap-time-encoding: invalid time-encoding value"),
        (["--zap-stacktrace-level=x"], "for flag -zap-stacktrace-level: invalid stacktrace level"),
        (["--refresh-metrics-interval=50"], "for flag -refresh-metrics-interval: parse error"),
    ],
)
def test_bad_values_are_usage_errors(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_options(argv, {})


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--tracing=true"], ["--tracing has no effect yet: traces are not made"]),
        (["--tracing=false", "--metrics-endpoint-auth=false", "--enable-pprof=true"], []),
        (
            ["--health-checking"],
            ["--health-checking has no effect: health is always served on the ext_proc port"],
        ),
        (
            ["--grpc-max-send-msg-size=4Mi"],
            ["--grpc-max-send-msg-size has no effect: no answer is longer than 64 KiB"],
        ),
        (["--tls-min-version=VersionTLS13"], []),
        (
            ["--tls-min-version=VersionTLS13", "--transport=grpcio", "--tls-cipher-suites="],
            [
                "--tls-min-version has no effect with --transport=grpcio",
                "--tls-cipher-suites has no effect with --transport=grpcio",
            ],
        ),
        (
            [
                "--ha-enable-leader-election",
                "--metrics-endpoint-auth",
                "--kubeconfig=k",
                "--pool-group=inference.networking.x-k8s.io",
                "--zap-stacktrace-level=error",
            ],
            [],
        ),
        (
            ["--secure-serving", "false"],
            ["read '--secure-serving false' as '--secure-serving=false': write it that way"],
        ),
    ],
)
def test_what_changes_nothing_is_said_once(argv: list[str], expected: list[str]) -> None:
    assert notices(*argv) == expected


def test_the_texts_are_what_the_command_line_says() -> None:
    texts = options(
        "--drain-timeout=1m", "--endpoint-target-ports=1", "--endpoint-target-ports=2"
    ).texts
    assert set(texts) == {flag.name for flag in FLAGS}
    assert (texts["drain-timeout"], texts["endpoint-target-ports"]) == ("1m", "1,2")
    assert (texts["drain-delay"], texts["health-checking"]) == ("5s", "false")


def test_options_cannot_be_changed() -> None:
    read: Any = options()
    with pytest.raises(AttributeError):
        read.verbosity = 5
    assert isinstance(read, msgspec.Struct)
    assert {flag.kind for flag in FLAGS} <= set(Kind)
