"""What the command line and the environment ask for, checked.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/runner.go and pkg/epp/server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from epp.flags.table import FLAGS, LOG_LEVELS, POOL_GROUPS, STABLE_POOL_GROUP
from epp.goflags import Flag, Kind, ParsedFlags, parse, parse_int, usage

PORTS = ("grpc-port", "grpc-health-port", "metrics-port", "model-server-metrics-port")
MAX_PORT = 65535
MAX_MESSAGE_BYTES = 2**31 - 1  # what gRPC takes as a limit
MAX_STREAMS = 2**31 - 1
_NOT_NEGATIVE = (
    "drain-delay",
    "drain-timeout",
    "decision-timeout",
    "grpc-handshake-timeout",
    "grpc-keepalive-time",
    "grpc-keepalive-timeout",
    "grpc-max-connection-idle",
    "grpc-max-connection-age",
    "grpc-max-connection-age-grace",
)
_ATTRIBUTES = {"v": "verbosity", "grpc-max-recv-msg-size": "grpc_max_recv_msg_bytes"}
# Flag -> the value that changes nothing (None: any), and why.
_WITHOUT_EFFECT: Mapping[str, tuple[bool | None, str]] = {
    "ha-enable-leader-election": (True, "yet: leader election comes with Kubernetes discovery"),
    "tracing": (True, "yet: traces are not made"),
    "metrics-endpoint-auth": (True, "yet: anybody who reaches the metrics port may read it"),
    "health-checking": (None, ": health is always served on the ext_proc port"),
    "kubeconfig": (None, "yet: it comes with Kubernetes discovery"),
    "zap-stacktrace-level": (None, ": unexpected errors always carry their stack trace"),
}


class OptionsError(Exception):
    """The flags contradict each other; show this line and exit with status 1."""


class Options(msgspec.Struct, frozen=True):
    """What the command line and the environment ask for.

    ``given`` are the names of the flags that were set; ``kv_metric_given`` tells whether the name
    of the KV metric was, or is only the historical default.
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
    given: frozenset[str]

    @property
    def kv_metric_given(self) -> bool:
        """Whether the operator named the KV metric."""
        return "kv-cache-usage-percentage-metric" in self.given


def read_options(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Options, list[str]]:
    """The options, and what the operator should know about them.

    Raises:
        UsageError, HelpRequested: as ``goflags.parse``.
        OptionsError: the flags contradict each other.
    """
    parsed = parse(FLAGS, argv)
    values = {_attribute(flag): parsed.values[flag.name] for flag in FLAGS}
    options = msgspec.convert({**values, "given": parsed.given}, Options)
    _validate(options)
    options = msgspec.structs.replace(
        options,
        pool_namespace=options.pool_namespace or environ.get("NAMESPACE") or "default",
        zap_encoder=options.zap_encoder.lower() or ("console" if options.zap_devel else "json"),
        zap_log_level=_log_level(options.zap_log_level),
        zap_stacktrace_level=options.zap_stacktrace_level.lower(),
        zap_time_encoding=options.zap_time_encoding.lower(),
        grpc_max_recv_msg_bytes=options.grpc_max_recv_msg_bytes or 64 * 2**20,
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


def _validate(options: Options) -> None:
    if options.config_file and options.config_text:
        raise OptionsError(
            'both the "configText" and "configFile" flags can not be set at the same time'
        )
    if options.model_server_metrics_scheme not in ("http", "https"):
        raise OptionsError(
            f'unexpected "{options.model_server_metrics_scheme}" value for '
            "\"model-server-metrics-scheme\" flag, it can only be set to 'http' or 'https'"
        )
    if options.pool_group not in POOL_GROUPS:
        raise OptionsError(f"unknown group: {options.pool_group}")
    _validate_numbers(options)


def _validate_numbers(options: Options) -> None:
    for name in PORTS:
        # Differs: upstream fails when it listens, and for the model servers' port at every read.
        if not 0 <= getattr(options, name.replace("-", "_")) <= MAX_PORT:
            raise OptionsError(f'the "{name}" flag must be within 0..{MAX_PORT}')
    if options.grpc_max_recv_msg_bytes > MAX_MESSAGE_BYTES:
        raise OptionsError(
            f'the "grpc-max-recv-msg-size" flag must be at most {MAX_MESSAGE_BYTES} bytes'
        )
    for name in ("grpc-max-concurrent-streams", "grpc-max-strikes"):
        if not 0 < getattr(options, name.replace("-", "_")) <= MAX_STREAMS:
            raise OptionsError(f'the "{name}" flag must be within 1..{MAX_STREAMS}')
    for name in ("refresh-metrics-interval", "refresh-prometheus-metrics-interval"):
        # Differs: upstream panics, for the first of them only when an endpoint appears.
        if getattr(options, f"{name.replace('-', '_')}_seconds") <= 0:
            raise OptionsError(f'the "{name}" flag must be longer than 0')
    for name in _NOT_NEGATIVE:
        if getattr(options, f"{name.replace('-', '_')}_seconds") < 0:
            raise OptionsError(f'the "{name}" flag must not be negative')


def _notices(parsed: ParsedFlags) -> list[str]:
    """One line for each flag that is set and changes nothing."""
    notices = []
    for name, (wanted, reason) in _WITHOUT_EFFECT.items():
        if name in parsed.given and (wanted is None or parsed.values[name] is wanted):
            separator = "" if reason.startswith(":") else " "
            notices.append(f"--{name} has no effect{separator}{reason}")
    group = parsed.values["pool-group"]
    if group != STABLE_POOL_GROUP:
        notices.append(
            f"--pool-group={group} has no effect yet: it comes with Kubernetes discovery"
        )
    return notices
