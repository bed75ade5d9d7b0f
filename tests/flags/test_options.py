from __future__ import annotations

from typing import Any

import msgspec
import pytest

from epp.flags.options import Options, OptionsError, read_options, usage_text
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
    assert len(Options.__struct_fields__) == len(FLAGS) + 1
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
        (
            ["--pool-name=p", "--config-file=f", "--config-text=t"],
            'both the "configText" and "configFile" flags can not be set at the same time',
        ),
        (
            ["--pool-name=p", "--model-server-metrics-scheme=ftp"],
            'unexpected "ftp" value for "model-server-metrics-scheme" flag, '
            "it can only be set to 'http' or 'https'",
        ),
        (["--pool-name=p", "--pool-group=example.com"], "unknown group: example.com"),
        (
            ["--pool-name=p", "--refresh-metrics-interval=0"],
            'the "refresh-metrics-interval" flag must be longer than 0',
        ),
        (["--pool-name=p", "--drain-delay=-1s"], 'the "drain-delay" flag must not be negative'),
        *(
            (["--pool-name=p", f"--{name}={port}"], f'the "{name}" flag must be within 0..65535')
            for name in (
                "grpc-port",
                "grpc-health-port",
                "metrics-port",
                "model-server-metrics-port",
            )
            for port in (-1, 65536)
        ),
        (
            ["--pool-name=p", "--grpc-max-recv-msg-size=2Gi"],
            'the "grpc-max-recv-msg-size" flag must be at most 2147483647 bytes',
        ),
    ],
)
def test_contradictions_are_refused_in_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        read_options(argv, {})
    assert str(caught.value) == message


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
        (
            ["--ha-enable-leader-election"],
            [
                "--ha-enable-leader-election has no effect yet: "
                "leader election comes with Kubernetes discovery"
            ],
        ),
        (["--tracing=true"], ["--tracing has no effect yet: traces are not made"]),
        (["--tracing=false", "--metrics-endpoint-auth=false", "--enable-pprof=true"], []),
        (
            ["--metrics-endpoint-auth"],
            [
                "--metrics-endpoint-auth has no effect yet: "
                "anybody who reaches the metrics port may read it"
            ],
        ),
        (
            ["--health-checking"],
            ["--health-checking has no effect: health is always served on the ext_proc port"],
        ),
        (
            ["--pool-group", "inference.networking.x-k8s.io"],
            [
                "--pool-group=inference.networking.x-k8s.io has no effect yet: "
                "it comes with Kubernetes discovery"
            ],
        ),
        (["--pool-group", "inference.networking.k8s.io"], []),
        (
            ["--secure-serving", "false"],
            ["read '--secure-serving false' as '--secure-serving=false': write it that way"],
        ),
    ],
)
def test_what_changes_nothing_is_said_once(argv: list[str], expected: list[str]) -> None:
    assert notices(*argv) == expected


def test_options_cannot_be_changed() -> None:
    read: Any = options()
    with pytest.raises(AttributeError):
        read.verbosity = 5
    assert isinstance(read, msgspec.Struct)
    assert {flag.kind for flag in FLAGS} <= set(Kind)
