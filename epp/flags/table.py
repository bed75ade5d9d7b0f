"""Every flag of the picker with its kind, default and help.

Names and defaults are those of the upstream pickers, so that their manifests work unchanged; flags
of our own follow at the end.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/runner.go and pkg/epp/server;
llm-d-router v0.10, pkg/epp/server/options.go.
"""

from __future__ import annotations

from epp.goflags import Flag, Kind, one_of, parse_int

STABLE_POOL_GROUP = "inference.networking.k8s.io"
POOL_GROUPS = frozenset({STABLE_POOL_GROUP, "inference.networking.x-k8s.io"})
ENCODERS = ("json", "console")
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
        "pool-name",
        Kind.STRING,
        "",
        "Name of the InferencePool; required without endpoints file and without selector.",
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
        "total-running-requests-metric",
        Kind.STRING,
        "vllm:num_requests_running",
        "Model server metric with the number of running requests; empty for none.",
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
        "Level from which lines about an exception carry its stack trace: info, error or panic.",
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
        "endpoint-selector",
        Kind.STRING,
        "",
        "Labels of the pods that are the endpoints, instead of an InferencePool.",
    ),
    Flag(
        "endpoint-target-ports",
        Kind.INTS,
        "",
        "With --endpoint-selector: the ports of these pods, up to 8.",
    ),
    Flag(
        "emit-endpoint-scores",
        Kind.BOOL,
        "false",
        "Tell the proxy the score of every endpoint, as dynamic metadata.",
    ),
    Flag("grpc-max-send-msg-size", Kind.QUANTITY, "", "Accepted for compatibility."),
    # Differs: upstream keeps the first certificate until it expires, unless told otherwise.
    Flag(
        "enable-cert-reload", Kind.BOOL, "true", "Load certificates again when their files change."
    ),
    Flag(
        "tls-min-version",
        Kind.STRING,
        "",
        "Oldest TLS of the ext_proc port: VersionTLS10 to VersionTLS13; VersionTLS12 if not given.",
    ),
    Flag(
        "tls-cipher-suites",
        Kind.STRINGS,
        "",
        "Cipher suites of the ext_proc port up to TLS 1.2, by Go's names.",
    ),
    Flag(
        "metrics-cert-dir",
        Kind.STRING,
        "",
        "Folder with tls.crt and tls.key; the metrics port then is HTTPS.",
    ),
    Flag(
        "metrics-client-ca-file",
        Kind.STRING,
        "",
        "PEM file with the authorities of the metrics port's clients, who must show a certificate.",
    ),
    Flag(
        "enable-grpc-stream-metrics",
        Kind.BOOL,
        "false",
        "Measure the ext_proc streams: how many, how long, how they end.",
    ),
    Flag(
        "allow-experimental-plugins",
        Kind.BOOL,
        "false",
        "Take a configuration with plugins whose stability is Alpha.",
    ),
    Flag(
        "config-reload",
        Kind.BOOL,
        "true",
        "Take over changes of --config-file while running; a wrong file changes nothing.",
    ),
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
    Flag(
        "plugin-dir",
        Kind.STRINGS,
        "",
        "Folder with plugins of your own, *.py; may be repeated. See epp/own/README.md.",
    ),
    Flag(
        "plugin-budget",
        Kind.DURATION,
        "2ms",
        "Time for a call of such a plugin; if it often takes longer, it is set aside; 0 for never.",
    ),
    Flag(
        "plugin-hard-limit",
        Kind.DURATION,
        "200ms",
        "When one call of such a plugin is broken off; 0 for never.",
    ),
)
