"""Builds every part once and runs them together; the only module that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

import uvloop

import epp.plugins
from epp import BUILD_REF, COMMIT_SHA, garbage
from epp.core.clock import Clock
from epp.core.errors import StartError
from epp.core.plugin import Handle
from epp.core.probe import ScrapeInterval
from epp.datastore.store import Datastore
from epp.discovery.source import file_source, place_of
from epp.exchange import Exchange
from epp.extproc.counted import counted
from epp.extproc.health import Health
from epp.extproc.servicer import ExternalProcessor
from epp.flags.options import Options
from epp.flags.tls import openssl_suites, openssl_version
from epp.http2.limits import Limits
from epp.http2.server import Server
from epp.routing import Routing
from epp.rpc import Services
from epp.scrape.loop import Scraper
from epp.scrape.plan import PolledSource, plan_scraping
from epp.settings import grpc_limits, scrape_settings
from epp.telemetry import logs
from epp.telemetry.decisions import DecisionLog
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.pluginlog import PluginLog
from epp.telemetry.profile import Profiler, save_profile
from epp.telemetry.requestlog import RequestLog
from epp.telemetry.saturationlog import SaturationLog
from epp.telemetry.server import Authorize, MetricsServer
from epp.telemetry.tee import Probes
from epp.telemetry.transport import TransportCollector
from epp.telemetry.watchdog import watch_loop
from epp.tls.certificates import CertificateError
from epp.tls.contexts import METRICS, TlsRules
from epp.tls.port import PortTls

logger = logging.getLogger("setup")


class Transport(Protocol):
    """What carries gRPC services; see ``http2.server.Server``."""

    async def start(self, host: str | None, port: int) -> None: ...
    def drain(self) -> None: ...
    async def stop(self) -> None: ...


class Candidate(Protocol):
    """Stands for leader; see ``kube.lease.Elector``."""

    @property
    def name(self) -> str: ...
    @property
    def is_leader(self) -> bool: ...
    async def run(self) -> None: ...
    async def release(self) -> None: ...


class Source(Protocol):
    """Where endpoints come from; ``run`` keeps the datastore in step until it is cancelled.

    One without a cluster has neither a candidate nor somebody to ask who may read the metrics.
    """

    async def open(self) -> None: ...
    def elector(self) -> Candidate | None: ...
    def authorize(self) -> Authorize | None: ...
    def label_by_nodes(self, names: Mapping[str, str]) -> None: ...
    async def run(self) -> None: ...


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises:
        OptionsError: nothing says where the endpoints come from.
        StartError: a file, a certificate or a port cannot be used.
    """
    epp.plugins.load()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(options))


async def _main(options: Options) -> None:
    app = App(options)
    stop = asyncio.Event()
    _on_signals(stop)
    try:
        await app.serve(stop)
    except* StartError as errors:
        raise _first(errors) from None


class App:
    """Every part of the picker, made from the options.

    Raises:
        OptionsError: nothing says where the endpoints come from.
        StartError: the configuration, the endpoints file or the certificate is unusable.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clock = Clock()
        self._datastore = Datastore(self._clock)
        self._metrics = MetricsProbe(
            self._datastore,
            commit=COMMIT_SHA,
            build_ref=BUILD_REF,
            stream_metrics=options.enable_grpc_stream_metrics,
            clock=self._clock,
        )
        self._decisions = DecisionLog(self._clock)
        self._scrape_interval = ScrapeInterval(options.refresh_metrics_interval_seconds)
        self._probe = Probes(
            self._metrics,
            self._decisions,
            RequestLog(),
            SaturationLog(self._clock),
            PluginLog(self._clock),
            self._scrape_interval,
        )
        self._random = Random()
        self._is_draining = False
        handle = Handle(self._random, self._clock, self._probe, self._scrape_interval)
        self._routing = Routing(options, self._datastore, handle)
        self._source = self._find_source()
        self._source.label_by_nodes(self._routing.config.data_layer.node_labels())
        self._candidate = self._find_candidate()
        self._tls, self._metrics_tls = self._find_certificates()
        self._scrape_settings = scrape_settings(options)
        self._scraper = Scraper(
            self._datastore, self._polled_sources(), self._clock, probe=self._probe
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set, then let running streams finish."""
        options = self._options
        await self._source.open()
        candidate = self._candidate
        health = Health(self._is_serving, (lambda: candidate.is_leader) if candidate else None)
        profiler = Profiler()
        metrics_server = MetricsServer(
            None,
            options.metrics_port,
            self._metrics.registry,
            self._decisions,
            profiler if options.enable_pprof else None,
            pages={
                "/debug/config": self._routing.describe_config,
                "/debug/plugins": self._routing.describe_plugins,
            },
            tls=self._metrics_tls.context if self._metrics_tls else None,
            authorize=self._authorize(),
        )
        async with asyncio.TaskGroup() as tasks:
            processor = ExternalProcessor(
                self._routing.director,
                self._open_exchange,
                tasks,
                decision_timeout_seconds=options.decision_timeout_seconds,
            )
            self._routing.changed += [processor.use, self._data_layer_changed]
            streams = processor.services
            if self._metrics.streams is not None:
                streams = counted(streams, self._metrics.streams, self._clock)
            ext_proc = self._transport({**streams, **health.services}, tasks)
            health_server = Server(health.services, Limits(), random=self._random)
            await _start_metrics(metrics_server, options.metrics_port)
            loops = [
                tasks.create_task(self._source.run()),
                tasks.create_task(self._scraper.run()),
                tasks.create_task(self._refresh_pool()),
                tasks.create_task(watch_loop(self._metrics.loop_lagged, self._clock)),
            ]
            if options.config_reload and (options.config_file or options.plugin_dir):
                loops.append(tasks.create_task(self._routing.follow()))
            if options.enable_cert_reload:
                tls = [port for port in (self._tls, self._metrics_tls) if port]
                loops += [tasks.create_task(port.follow()) for port in tls]
            self._profile_on_signal(profiler, tasks, loops)
            garbage.settle()
            await _listen(ext_proc, options.grpc_port)
            await _listen(health_server, options.grpc_health_port)
            logs.log(logger, 0, "gRPC server listening", name="ext-proc", port=options.grpc_port)
            logs.log(
                logger, 0, "gRPC server listening", name="health", port=options.grpc_health_port
            )
            leading = tasks.create_task(self._lead()) if candidate else None
            await stop.wait()
            self._is_draining = True
            async with asyncio.TaskGroup() as ending:
                if candidate and leading:
                    leading.cancel()
                    ending.create_task(candidate.release())
                await self._drain(ext_proc, processor)
            await health_server.stop()
            await metrics_server.stop()
            for loop in loops:
                loop.cancel()

    async def _lead(self) -> None:
        """Stand for leader; whoever loses that ends at once, for another may be it already."""
        from epp.kube.lease import LeaseLostError  # there is a cluster: it is loaded

        assert self._candidate is not None
        try:
            await self._candidate.run()
        except LeaseLostError as error:
            logs.error(logger, "Leader election lost", error=str(error))
            os._exit(1)

    async def _drain(self, server: Transport, processor: ExternalProcessor) -> None:
        """Not serving first, so that proxies go elsewhere; then no new streams; then the end.

        Differs: the older Go picker refuses new streams at once, the newer one waits without limit.
        Both give the lease back at the very end, and until then no picker is ready.
        """
        options = self._options
        delay = min(options.drain_delay_seconds, options.drain_timeout_seconds)
        logs.log(logger, 0, "Draining", delay=delay, timeout=options.drain_timeout_seconds)
        await asyncio.sleep(delay)
        server.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.drain_timeout_seconds - delay):
                await processor.idle()
        await server.stop()
        logs.log(logger, 0, "Stopped")

    def _find_source(self) -> Source:
        place = place_of(self._options, self._routing.config.discovery)
        if place is not None:
            return file_source(self._options, place, self._datastore)
        from epp.discovery.cluster import watch_cluster  # half a second and 25 MiB

        return watch_cluster(
            self._options,
            self._datastore,
            os.environ,
            clock=self._clock,
            random=self._random,
            on_models=self._metrics.pin_models,
        )

    def _polled_sources(self) -> Sequence[PolledSource]:
        return plan_scraping(self._scrape_settings, self._routing.config.data_layer)

    def _data_layer_changed(self, routing: Routing) -> None:
        """Read of endpoints what the configuration in force wants read."""
        self._source.label_by_nodes(routing.config.data_layer.node_labels())
        try:
            self._scraper.use(self._polled_sources())
        except StartError as error:
            logs.error(logger, "Endpoints are read as before", error=str(error))

    def _find_candidate(self) -> Candidate | None:
        if not self._options.ha_enable_leader_election:
            return None
        candidate = self._source.elector()
        if candidate is None:
            logs.warn(logger, "--ha-enable-leader-election has no effect without a cluster")
        return candidate

    def _authorize(self) -> Authorize | None:
        if not self._options.metrics_endpoint_auth:
            return None
        return self._source.authorize()

    def _find_certificates(self) -> tuple[PortTls | None, PortTls | None]:
        """The TLS of the ext_proc port and of the metrics port."""
        options = self._options
        rules = TlsRules(
            minimum=openssl_version(options.tls_min_version),
            suites=openssl_suites(options.tls_cipher_suites),
        )
        folder, client_ca = options.metrics_cert_dir, options.metrics_client_ca_file
        try:
            return (
                PortTls(rules, options.cert_path) if options.secure_serving else None,
                PortTls(METRICS, folder, client_ca=client_ca) if folder else None,
            )
        except CertificateError as error:
            raise StartError(str(error)) from None

    def _transport(self, services: Services, tasks: asyncio.TaskGroup) -> Transport:
        options, tls = self._options, self._tls
        if options.transport == "grpcio":
            from epp.grpcio_server import GrpcioServer  # a tenth of a second and 20 MiB

            return GrpcioServer(
                services,
                tasks,
                max_message_bytes=options.grpc_max_recv_msg_bytes,
                key_pair=(lambda: (tls.pair.key, tls.pair.chain)) if tls else None,
            )
        context = tls.context if tls else None
        server = Server(services, grpc_limits(options), random=self._random, tls=context)
        self._metrics.registry.register(
            TransportCollector(
                lambda: server.connections, lambda: server.streams, lambda: server.errors
            )
        )
        return server

    def _is_serving(self) -> bool:
        return self._datastore.pool is not None and not self._is_draining

    def _open_exchange(self) -> Exchange:
        return Exchange(clock=self._clock, probe=self._probe, datastore=self._datastore)

    def _profile_on_signal(
        self, profiler: Profiler, tasks: asyncio.TaskGroup, loops: list[asyncio.Task[None]]
    ) -> None:
        def asked() -> None:
            saving = save_profile(profiler, self._options.cpu_profile, self._clock)
            loops.append(tasks.create_task(saving))

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, asked)

    async def _refresh_pool(self) -> None:
        options = self._options
        while True:
            if self._candidate:
                self._metrics.set_leader(self._candidate.name, self._candidate.is_leader)
            if self._datastore.pool is None:
                logs.log(logger, 2, "Pool is not initialized, skipping refreshing metrics")
            self._metrics.refresh_pool(
                self._clock.now(), options.metrics_staleness_threshold_seconds
            )
            await asyncio.sleep(options.refresh_prometheus_metrics_interval_seconds)


async def _listen(server: Transport, port: int) -> None:
    try:
        await server.start(None, port)
    except OSError:
        raise StartError(f"cannot listen on port {port}") from None


async def _start_metrics(server: MetricsServer, port: int) -> None:
    try:
        await server.start()
    except OSError as error:
        raise StartError(f"cannot listen on port {port}: {error.strerror}") from None


def _on_signals(stop: asyncio.Event) -> None:
    """The first signal drains, the second ends the process at once."""

    def asked() -> None:
        if stop.is_set():
            logs.log(logger, 0, "Second signal: ending at once")
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)


def _first(group: BaseExceptionGroup[StartError]) -> StartError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, StartError)
    return error
