"""Whether the values of the flags are possible and fit together.

Source: gateway-api-inference-extension 2aaf2a6, cmd/epp/runner/runner.go; llm-d-router v0.10,
pkg/epp/server/options.go.
"""

from __future__ import annotations

from epp.flags.options import Options
from epp.flags.table import POOL_GROUPS
from epp.flags.tls import openssl_suites, openssl_version

PORTS = ("grpc-port", "grpc-health-port", "metrics-port", "model-server-metrics-port")
MAX_PORT = 65535
MAX_TARGET_PORTS = 8
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
    "plugin-budget",
    "plugin-hard-limit",
)


class OptionsError(Exception):
    """The flags contradict each other; show this line and exit with status 1."""


def validate(options: Options) -> None:
    """Check everything that can be told from the flags alone.

    Raises:
        OptionsError: the first thing that is wrong.
    """
    _validate_pool(options)
    if options.config_file and options.config_text:
        raise OptionsError(
            'both the "configText" and "configFile" flags can not be set at the same time'
        )
    if options.model_server_metrics_scheme not in ("http", "https"):
        raise OptionsError(
            f'unexpected "{options.model_server_metrics_scheme}" value for '
            "\"model-server-metrics-scheme\" flag, it can only be set to 'http' or 'https'"
        )
    _validate_certificates(options)
    _validate_numbers(options)
    if 0 < options.plugin_hard_limit_seconds < options.plugin_budget_seconds:
        raise OptionsError('the "plugin-hard-limit" flag must not be shorter than "plugin-budget"')


def _validate_pool(options: Options) -> None:
    if options.pool_name and options.endpoint_selector:
        raise OptionsError("either pool-name or endpoint-selector must be set")
    if options.pool_group not in POOL_GROUPS:
        raise OptionsError(f"unknown group: {options.pool_group}")
    ports = options.endpoint_target_ports
    if options.endpoint_selector and not 0 < len(ports) <= MAX_TARGET_PORTS:
        raise OptionsError(
            f'flag "endpoint-target-ports" should have length from 1 to {MAX_TARGET_PORTS}'
        )
    for port in ports:
        if not 0 <= port <= MAX_PORT:
            raise OptionsError(f'invalid port number {port} in "endpoint-target-ports"')


def _validate_certificates(options: Options) -> None:
    try:
        openssl_version(options.tls_min_version)
    except ValueError as error:
        raise OptionsError(
            f'invalid tls-min-version "{options.tls_min_version}": {error}'
        ) from None
    try:
        openssl_suites(options.tls_cipher_suites)
    except ValueError as error:
        raise OptionsError(f"invalid tls-cipher-suites: {error}") from None
    if options.metrics_client_ca_file and not options.metrics_cert_dir:
        raise OptionsError('"metrics-client-ca-file" requires "metrics-cert-dir"')
    is_protected = options.metrics_client_ca_file or options.metrics_endpoint_auth
    if options.metrics_cert_dir and not is_protected:
        raise OptionsError(
            '"metrics-cert-dir" requires "metrics-endpoint-auth" or "metrics-client-ca-file"'
        )


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
        # Differs: the older picker panics, for the first of them only when an endpoint appears; the
        # newer one raises it to 50 ms, where our scraper bounds its own share of the time.
        if getattr(options, f"{name.replace('-', '_')}_seconds") <= 0:
            raise OptionsError(f'the "{name}" flag must be longer than 0')
    for name in _NOT_NEGATIVE:
        if getattr(options, f"{name.replace('-', '_')}_seconds") < 0:
            raise OptionsError(f'the "{name}" flag must not be negative')
