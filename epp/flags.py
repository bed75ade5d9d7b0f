"""The picker's command line: every flag with its default, and what is made of them.

Names and defaults are those of the upstream picker, so that its manifests work unchanged.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/runner.go and pkg/epp/server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from epp.goflags import Flag, Kind, ParsedFlags, one_of, parse, parse_int, usage

STABLE_POOL_GROUP = "inference.networking.k8s.io"
POOL_GROUPS = frozenset({STABLE_POOL_GROUP, "inference.networking.x-k8s.io"})
ENCODERS = ("json", "console")
PORTS = ("grpc-port", "grpc-health-port", "metrics-port", "model-server-metrics-port")
MAX_PORT = 65535
MAX_MESSAGE_BYTES = 2**31 - 1  # what gRPC takes as a limit
MAX_STREAMS = 2**31 - 1
TIME_ENCODINGS = ("epoch", "millis", "nanos", "iso8601", "rfc3339", "rfc3339nano")
TRANSPORTS = ("http2", "grpcio")
LOG_LEVELS = ("debug", "info", "error", "panic")
STACKTRACE_LEVELS = ("info", "error", "panic")


def _check_log_level(text: str) -> str | None:
    if text.lower() in LOG_LEVELS:
        return None
    try:
        is_positive = parse_int(text) > 0
    except ValueError:
        is_positive = False
    return None if is_positive else f'invalid log level "{text}"'


FLAGS: tuple[Flag, ...] = (
    Flag("grpc-port", Kind.INT, "9002", "Port for the proxy's ext_proc streams."),
    Flag("grpc-health-port", Kind.INT, "9003", "Port for gRPC health checks, never TLS."),
    Flag("metrics-port", Kind.INT, "9090", "HTTP port for /metrics and the /debug pages."),
    Flag(
        "metrics-endpoint-auth",
        Kind.BOOL,
        "true",
        "Ask Kubernetes whether a client may read the metrics port.",
    ),
    Flag(
        "enable-pprof",
        Kind.BOOL,
        "true",
        "Serve CPU profiles at /debug/profile of the metrics port, as text.",
    ),
    Flag(
        "pool-name", Kind.STRING, "", "Name of the InferencePool; required without endpoints file."
    ),
    Flag("pool-group", Kind.STRING, STABLE_POOL_GROUP, "API group of the InferencePool."),
    Flag(
        "pool-namespace",
        Kind.STRING,
        "",
        "Namespace of the InferencePool; else $NAMESPACE, else 'default'.",
    ),
    Flag("v", Kind.INT, "2", "How much to log: 2 default, 3 verbose, 4 debug, 5 trace."),
    Flag("secure-serving", Kind.BOOL, "true", "Serve TLS on the ext_proc port."),
    Flag("health-checking", Kind.BOOL, "false", "Also answer health checks on the ext_proc port."),
    Flag(
        "cert-path",
        Kind.STRING,
        "",
        "Folder with tls.crt and tls.key; a certificate is made up where none is given.",
    ),
    Flag(
        "total-queued-requests-metric",
        Kind.STRING,
        "vllm:num_requests_waiting",
        "Model server metric with the number of waiting requests; empty for none.",
    ),
    Flag(
        "kv-cache-usage-percentage-metric",
        Kind.STRING,
        "vllm:gpu_cache_usage_perc",
        "Model server metric with the used share of the KV cache, 0 to 1; empty for none.",
    ),
    Flag(
        "lora-info-metric",
        Kind.STRING,
        "vllm:lora_requests_info",
        "Model server metric whose labels name the LoRA adapters; empty for none.",
    ),
    Flag(
        "cache-info-metric",
        Kind.STRING,
        "vllm:cache_config_info",
        "Model server metric whose labels tell block size and count; empty for none.",
    ),
    Flag("refresh-metrics-interval", Kind.DURATION, "50ms", "Time between reads of an endpoint."),
    Flag(
        "refresh-prometheus-metrics-interval",
        Kind.DURATION,
        "5s",
        "Time between updates of the pool's own gauges.",
    ),
    Flag(
        "metrics-staleness-threshold",
        Kind.DURATION,
        "2s",
        "Age from which an endpoint's values no longer count in the pool's gauges.",
    ),
    Flag("config-file", Kind.STRING, "", "Path of the EndpointPickerConfig."),
    Flag("config-text", Kind.STRING, "", "The EndpointPickerConfig itself, instead of a path."),
    Flag(
        "model-server-metrics-port",
        Kind.INT,
        "",
        "Port to read metrics from, if the pool has one target port; 0 for that port.",
    ),
    Flag("model-server-metrics-path", Kind.STRING, "/metrics", "Path to read metrics from."),
    Flag("model-server-metrics-scheme", Kind.STRING, "http", "http or https, to read metrics."),
    Flag(
        "model-server-metrics-https-insecure-skip-verify",
        Kind.BOOL,
        "true",
        "Accept any certificate from a model server.",
    ),
    Flag("ha-enable-leader-election", Kind.BOOL, "false", "Let one replica of several serve."),
    Flag("tracing", Kind.BOOL, "true", "Report OpenTelemetry traces."),
    Flag(
        "zap-devel", Kind.BOOL, "true", "Log for people: the console encoder unless one is named."
    ),
    Flag(
        "zap-encoder",
        Kind.STRING,
        "",
        "json or console.",
        one_of(*ENCODERS, error='invalid encoder value "{value}"'),
    ),
    Flag(
        "zap-log-level",
        Kind.STRING,
        "",
        "debug, info, error, panic or a number above 0; wins over --v.",
        _check_log_level,
    ),
    Flag(
        "zap-stacktrace-level",
        Kind.STRING,
        "",
        "Accepted for compatibility: info, error or panic.",
        one_of(*STACKTRACE_LEVELS, error='invalid stacktrace level "{value}"'),
    ),
    Flag(
        "zap-time-encoding",
        Kind.STRING,
        "rfc3339",
        "epoch, millis, nanos, iso8601, rfc3339 or rfc3339nano.",
        one_of(*TIME_ENCODINGS, error='invalid time-encoding value "{value}"'),
    ),
    Flag("kubeconfig", Kind.STRING, "", "File that tells how to reach Kubernetes from outside."),
    Flag(
        "endpoints-file", Kind.STRING, "", "File that lists the endpoints, instead of Kubernetes."
    ),
    Flag("drain-delay", Kind.DURATION, "5s", "How long to accept requests after a stop signal."),
    # Differs: upstream waits for 30 s, the whole of a pod's default grace period, so that the
    # kubelet ends the process before it ends itself.
    Flag(
        "drain-timeout", Kind.DURATION, "25s", "When to cut running streams, after a stop signal."
    ),
    # Differs: gRPC's own limit of 4 MiB turns a long prompt in one message into an error.
    Flag("grpc-max-recv-msg-size", Kind.QUANTITY, "64Mi", "Longest message taken from the proxy."),
    Flag(
        "disable-endpoint-subset-filter",
        Kind.BOOL,
        "false",
        "Pick from the whole pool, whatever subset the proxy names.",
    ),
    Flag("decision-timeout", Kind.DURATION, "60s", "How long a decision may wait."),
    Flag(
        "transport",
        Kind.STRING,
        "http2",
        "Who serves gRPC: http2 (ours) or grpcio, for which no --grpc-* limit but the message size "
        "holds.",
        one_of(*TRANSPORTS, error='unknown transport "{value}", it can be http2 or grpcio'),
    ),
    Flag(
        "grpc-max-concurrent-streams", Kind.INT, "100000", "Streams that one connection may have."
    ),
    Flag(
        "grpc-max-buffered-bytes",
        Kind.QUANTITY,
        "512Mi",
        "Bytes of unfinished messages that one connection may have.",
    ),
    Flag(
        "grpc-max-unsent-bytes",
        Kind.QUANTITY,
        "64Mi",
        "Unread answers of one connection from which no more is taken from it.",
    ),
    Flag(
        "grpc-max-strikes",
        Kind.INT,
        "1000",
        "Frames that serve nothing (pings, settings, useless resets) at once; a tenth per second.",
    ),
    Flag(
        "grpc-handshake-timeout",
        Kind.DURATION,
        "10s",
        "Time for TLS, the HTTP/2 preface and SETTINGS; 0 for no limit.",
    ),
    Flag(
        "grpc-keepalive-time",
        Kind.DURATION,
        "60s",
        "Silence after which a connection is pinged; 0 for never.",
    ),
    Flag("grpc-keepalive-timeout", Kind.DURATION, "20s", "Time to answer that ping."),
    Flag(
        "grpc-max-connection-idle",
        Kind.DURATION,
        "0s",
        "Time without a stream after which a connection ends; 0 for never.",
    ),
    Flag(
        "grpc-max-connection-age",
        Kind.DURATION,
        "0s",
        "Age, give or take a tenth, at which a connection takes no more streams; 0 for never.",
    ),
    Flag(
        "grpc-max-connection-age-grace",
        Kind.DURATION,
        "0s",
        "Time for the streams of such a connection; 0 for no limit.",
    ),
    Flag(
        "cpu-profile",
        Kind.STRING,
        "",
        "File for the CPU profile of 30 s that SIGUSR2 starts; else a new one for temporary files.",
    ),
)

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
