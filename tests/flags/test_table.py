from __future__ import annotations

from epp.flags.table import ENCODERS, FLAGS, TIME_ENCODINGS
from epp.telemetry import logs

UPSTREAM = {
    "grpc-port": ("int", "9002"),
    "grpc-health-port": ("int", "9003"),
    "metrics-port": ("int", "9090"),
    "metrics-endpoint-auth": ("bool", "true"),
    "enable-pprof": ("bool", "true"),
    "pool-name": ("string", ""),
    "pool-group": ("string", "inference.networking.k8s.io"),
    "pool-namespace": ("string", ""),
    "v": ("int", "2"),
    "secure-serving": ("bool", "true"),
    "health-checking": ("bool", "false"),
    "cert-path": ("string", ""),
    "total-queued-requests-metric": ("string", "vllm:num_requests_waiting"),
    "kv-cache-usage-percentage-metric": ("string", "vllm:gpu_cache_usage_perc"),
    "lora-info-metric": ("string", "vllm:lora_requests_info"),
    "cache-info-metric": ("string", "vllm:cache_config_info"),
    "refresh-metrics-interval": ("duration", "50ms"),
    "refresh-prometheus-metrics-interval": ("duration", "5s"),
    "metrics-staleness-threshold": ("duration", "2s"),
    "config-file": ("string", ""),
    "config-text": ("string", ""),
    "model-server-metrics-port": ("int", ""),
    "model-server-metrics-path": ("string", "/metrics"),
    "model-server-metrics-scheme": ("string", "http"),
    "model-server-metrics-https-insecure-skip-verify": ("bool", "true"),
    "ha-enable-leader-election": ("bool", "false"),
    "tracing": ("bool", "true"),
    "zap-devel": ("bool", "true"),
    "zap-encoder": ("string", ""),
    "zap-log-level": ("string", ""),
    "zap-stacktrace-level": ("string", ""),
    "zap-time-encoding": ("string", "rfc3339"),
    "kubeconfig": ("string", ""),
}
# Those of the newer picker; where a default of ours is another one, the table says why.
NEWER = {
    "total-running-requests-metric": ("string", "vllm:num_requests_running"),
    "endpoint-selector": ("string", ""),
    "endpoint-target-ports": ("ints", ""),
    "disable-endpoint-subset-filter": ("bool", "false"),
    "emit-endpoint-scores": ("bool", "false"),
    "drain-timeout": ("duration", "25s"),
    "grpc-max-recv-msg-size": ("quantity", "64Mi"),
    "grpc-max-send-msg-size": ("quantity", ""),
    "enable-cert-reload": ("bool", "true"),
    "tls-min-version": ("string", ""),
    "tls-cipher-suites": ("strings", ""),
    "metrics-cert-dir": ("string", ""),
    "metrics-client-ca-file": ("string", ""),
    "enable-grpc-stream-metrics": ("bool", "false"),
    "allow-experimental-plugins": ("bool", "false"),
}


def test_every_upstream_flag_has_its_name_kind_and_default() -> None:
    ours = {flag.name: (str(flag.kind), flag.default) for flag in FLAGS}
    assert {name: ours[name] for name in UPSTREAM | NEWER} == UPSTREAM | NEWER
    assert set(ours) - set(UPSTREAM) - set(NEWER) == {
        "endpoints-file",
        "drain-delay",
        "decision-timeout",
        "transport",
        "grpc-max-concurrent-streams",
        "grpc-max-buffered-bytes",
        "grpc-max-unsent-bytes",
        "grpc-max-strikes",
        "grpc-handshake-timeout",
        "grpc-keepalive-time",
        "grpc-keepalive-timeout",
        "grpc-max-connection-idle",
        "grpc-max-connection-age",
        "grpc-max-connection-age-grace",
        "cpu-profile",
        "plugin-dir",
        "plugin-budget",
        "plugin-hard-limit",
    }


def test_the_choices_are_those_of_the_logs() -> None:
    assert set(ENCODERS) == set(logs.Encoder)
    assert set(TIME_ENCODINGS) == set(logs.TimeEncoding)
