"""What the parts of the picker want to know, said by the options."""

from __future__ import annotations

import logging
from pathlib import Path

from epp.config.document import MAX_BYTES
from epp.config.load import DEFAULT_CONFIG
from epp.core.engine import KV_CACHE_SPECS, Engine
from epp.core.errors import StartError
from epp.core.metricspec import MetricSpec
from epp.flags.options import Options
from epp.http2.limits import Limits
from epp.scrape.plan import ScrapeSettings
from epp.telemetry import logs

logger = logging.getLogger("setup")


def config_text(options: Options) -> tuple[str, str]:
    """The configuration's text and what to call it.

    Raises:
        StartError: its file cannot be read.
    """
    if options.config_text:
        return options.config_text, "--config-text"
    if not options.config_file:
        return DEFAULT_CONFIG, "default configuration"
    try:
        with Path(options.config_file).open("rb") as file:  # more than it may have is not read
            return file.read(MAX_BYTES + 1).decode("utf-8"), options.config_file
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise StartError(
            f"failed to load config from a file '{options.config_file}' - {reason}"
        ) from None


def scrape_settings(options: Options) -> ScrapeSettings:
    """What to read from the model servers, and how.

    Raises:
        StartError: a metric spec is none.
    """
    kv_cache: tuple[MetricSpec, ...] = KV_CACHE_SPECS
    if options.kv_metric_given:
        named = _spec(options, "kv-cache-usage-percentage-metric", "KVCacheUtilization")
        kv_cache = (named,) if named else ()
    engine = Engine(
        waiting=_spec(options, "total-queued-requests-metric", "TotalQueuedRequests"),
        running=_spec(options, "total-running-requests-metric", "TotalRunningRequests"),
        kv_cache=kv_cache,
        lora=_spec(options, "lora-info-metric", "LoraRequestInfo"),
        cache_info=_spec(options, "cache-info-metric", "CacheConfigInfo"),
    )
    return ScrapeSettings(
        engine=engine,
        interval_seconds=options.refresh_metrics_interval_seconds,
        path=options.model_server_metrics_path,
        scheme=options.model_server_metrics_scheme,
        insecure_skip_verify=options.model_server_metrics_https_insecure_skip_verify,
    )


def _spec(options: Options, flag: str, name: str) -> MetricSpec | None:
    """The metric spec of a flag; an empty one switches off the metric that upstream calls so."""
    try:
        spec = MetricSpec.parse(getattr(options, flag.replace("-", "_")))
    except ValueError as error:
        raise StartError(f"flag -{flag}: {error}") from None
    if spec is None:
        logs.log(logger, 0, f"Not scraping metric: {name}")
    return spec


def grpc_limits(options: Options) -> Limits:
    """What a connection on the ext_proc port may do."""
    return Limits(
        max_streams=options.grpc_max_concurrent_streams,
        max_message_bytes=options.grpc_max_recv_msg_bytes,
        max_partial_bytes=options.grpc_max_buffered_bytes,
        max_unsent_total_bytes=options.grpc_max_unsent_bytes,
        max_strikes=options.grpc_max_strikes,
        handshake_seconds=options.grpc_handshake_timeout_seconds,
        idle_seconds=options.grpc_max_connection_idle_seconds,
        keepalive_seconds=options.grpc_keepalive_time_seconds,
        keepalive_timeout_seconds=options.grpc_keepalive_timeout_seconds,
        max_age_seconds=options.grpc_max_connection_age_seconds,
        max_age_grace_seconds=options.grpc_max_connection_age_grace_seconds,
    )
