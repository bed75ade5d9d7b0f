"""What the command line and the environment ask for, checked.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/runner.go and pkg/epp/server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from epp.flags.table import FLAGS, LOG_LEVELS
from epp.goflags import Flag, Kind, ParsedFlags, parse, parse_int, usage

DEFAULT_VERBOSITY = 2
_ATTRIBUTES = {
    "v": "verbosity",
    "grpc-max-recv-msg-size": "grpc_max_recv_msg_bytes",
    "grpc-max-send-msg-size": "grpc_max_send_msg_bytes",
}
# Flag -> the value that changes nothing (None: any), and why.
_WITHOUT_EFFECT: Mapping[str, tuple[bool | None, str]] = {
    "tracing": (True, "yet: traces are not made"),
    "health-checking": (None, ": health is always served on the ext_proc port"),
    "grpc-max-send-msg-size": (None, ": no answer is longer than 64 KiB"),
}
# What grpcio decides for the whole process.
_WITHOUT_EFFECT_ON_GRPCIO = ("tls-min-version", "tls-cipher-suites")


class Options(msgspec.Struct, frozen=True):
    """What the command line and the environment ask for.

    ``given`` are the names of the flags that were set, ``texts`` how all of them are written on the
    command line; ``kv_metric_given`` tells whether the name of the KV metric was set, or is only
    the historical default. ``flags.validation`` says whether the values fit together.
    """

    grpc_port: int
    grpc_health_port: int
    metrics_port: int
    metrics_endpoint_auth: bool
    enable_pprof: bool
    pool_name: str
    pool_group: str
    pool_namespace: str
    verbosity: int
    secure_serving: bool
    health_checking: bool
    cert_path: str
    total_queued_requests_metric: str
    total_running_requests_metric: str
    kv_cache_usage_percentage_metric: str
    lora_info_metric: str
    cache_info_metric: str
    refresh_metrics_interval_seconds: float
    refresh_prometheus_metrics_interval_seconds: float
    metrics_staleness_threshold_seconds: float
    config_file: str
    config_text: str
    model_server_metrics_port: int
    model_server_metrics_path: str
    model_server_metrics_scheme: str
    model_server_metrics_https_insecure_skip_verify: bool
    ha_enable_leader_election: bool
    tracing: bool
    zap_devel: bool
    zap_encoder: str
    zap_log_level: str
    zap_stacktrace_level: str
    zap_time_encoding: str
    kubeconfig: str
    endpoint_selector: str
    endpoint_target_ports: tuple[int, ...]
    emit_endpoint_scores: bool
    grpc_max_send_msg_bytes: int
    enable_cert_reload: bool
    tls_min_version: str
    tls_cipher_suites: tuple[str, ...]
    metrics_cert_dir: str
    metrics_client_ca_file: str
    enable_grpc_stream_metrics: bool
    allow_experimental_plugins: bool
    config_reload: bool
    endpoints_file: str
    drain_delay_seconds: float
    drain_timeout_seconds: float
    grpc_max_recv_msg_bytes: int
    disable_endpoint_subset_filter: bool
    decision_timeout_seconds: float
    transport: str
    grpc_max_concurrent_streams: int
    grpc_max_buffered_bytes: int
    grpc_max_unsent_bytes: int
    grpc_max_strikes: int
    grpc_handshake_timeout_seconds: float
    grpc_keepalive_time_seconds: float
    grpc_keepalive_timeout_seconds: float
    grpc_max_connection_idle_seconds: float
    grpc_max_connection_age_seconds: float
    grpc_max_connection_age_grace_seconds: float
    cpu_profile: str
    plugin_dir: tuple[str, ...]
    plugin_budget_seconds: float
    plugin_hard_limit_seconds: float
    given: frozenset[str]
    texts: Mapping[str, str]

    @property
    def kv_metric_given(self) -> bool:
        """Whether the operator named the KV metric."""
        return "kv-cache-usage-percentage-metric" in self.given


def read_options(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Options, list[str]]:
    """The options, and what the operator should know about them.

    Raises:
        UsageError, HelpRequested: as ``goflags.parse``.
    """
    parsed = parse(FLAGS, argv)
    values = {_attribute(flag): parsed.values[flag.name] for flag in FLAGS}
    options = msgspec.convert(
        {**values, "given": parsed.given, "texts": dict(parsed.texts)}, Options
    )
    options = msgspec.structs.replace(
        options,
        verbosity=options.verbosity if options.verbosity >= 0 else DEFAULT_VERBOSITY,
        endpoint_target_ports=tuple(dict.fromkeys(options.endpoint_target_ports)),
        pool_namespace=options.pool_namespace or environ.get("NAMESPACE") or "default",
        zap_encoder=options.zap_encoder.lower() or ("console" if options.zap_devel else "json"),
        zap_log_level=_log_level(options.zap_log_level),
        zap_stacktrace_level=(
            options.zap_stacktrace_level.lower() or ("warn" if options.zap_devel else "error")
        ),
        zap_time_encoding=options.zap_time_encoding.lower(),
        grpc_max_recv_msg_bytes=options.grpc_max_recv_msg_bytes or 64 * 2**20,
        plugin_dir=tuple(dict.fromkeys(filter(None, options.plugin_dir))),
    )
    return options, [*parsed.warnings, *_notices(parsed)]


def usage_text() -> str:
    """What ``--help`` prints."""
    return usage("epp", FLAGS)


def _attribute(flag: Flag) -> str:
    name = _ATTRIBUTES.get(flag.name) or flag.name.replace("-", "_")
    return f"{name}_seconds" if flag.kind is Kind.DURATION else name


def _log_level(text: str) -> str:
    """A level's name in lower case, or its number in decimal."""
    name = text.lower()
    return name if name in ("", *LOG_LEVELS) else str(parse_int(text))


def _notices(parsed: ParsedFlags) -> list[str]:
    """One line for each flag that is set and changes nothing."""
    notices = []
    for name, (wanted, reason) in _WITHOUT_EFFECT.items():
        if name in parsed.given and (wanted is None or parsed.values[name] is wanted):
            separator = "" if reason.startswith(":") else " "
            notices.append(f"--{name} has no effect{separator}{reason}")
    if parsed.values["transport"] == "grpcio":
        notices += [
            f"--{name} has no effect with --transport=grpcio"
            for name in _WITHOUT_EFFECT_ON_GRPCIO
            if name in parsed.given
        ]
    return notices
