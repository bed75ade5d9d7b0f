"""``epp simulator``: fake model servers, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from aiohttp import web

from epp.core.clock import Clock
from epp.simulator.flags import parse_arguments, parse_yaml
from epp.simulator.modelserver import Identity, ModelServer, identities
from epp.simulator.options import WITHOUT_EFFECT, Options, flag_name
from epp.simulator.reading import OptionsError, flag_kinds, merge, read_options, usage
from epp.simulator.server import Routes
from epp.simulator.tls import ssl_context

_USAGE_STATUS = 2
_LONGEST_STOP_SECONDS = 30.0
_LOG_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.INFO)

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; returns the exit status: 2 for wrong flags, 1 when it cannot start."""
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(usage())
        return 0
    try:
        options, notices = load_options(arguments, os.environ)
    except OptionsError as error:
        sys.stderr.writelines(f"epp simulator: {problem}\n" for problem in error.problems)
        return _USAGE_STATUS
    verbosity = min(options.v, len(_LOG_LEVELS))
    level = (*_LOG_LEVELS, logging.DEBUG)[verbosity]
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    for notice in notices:
        logger.warning(notice)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options, os.environ, Clock()))
    except OSError as error:
        sys.stderr.write(f"epp simulator: {error}\n")
        return 1
    return 0


def load_options(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[Options, list[str]]:
    """Read the command line and the file of ``--config``, and what to warn of.

    Raises:
        OptionsError: the options cannot be used.
    """
    kinds = flag_kinds()
    flags = parse_arguments(arguments, kinds)
    for path in flags.values.get("config", []):
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise OptionsError([f"--config: {error}"]) from None
        flags = merge(flags, parse_yaml(text, kinds))
    options = read_options(flags, environment)
    notices = [f"ignored, not known here: {ignored}" for ignored in flags.ignored]
    unused = [flag_name(field) for field in WITHOUT_EFFECT]
    notices += [f"--{name} has no effect here yet" for name in unused if name in flags.values]
    return options, notices


@asynccontextmanager
async def hosting(
    options: Options,
    hosted: Sequence[Identity],
    *,
    environment: Mapping[str, str],
    clock: Clock,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[list[ModelServer]]:
    """Model servers that listen, one per identity; on leaving, running requests may finish.

    Raises:
        OSError: a port cannot be had.
    """
    drawn = int(clock.time_of_day().timestamp() * 1e9)
    seed = drawn if options.seed is None else options.seed
    is_development = environment.get("VLLM_SERVER_DEV_MODE") == "1"
    servers: list[ModelServer] = []
    runners: list[web.AppRunner] = []
    try:
        for identity in hosted:
            server = ModelServer(options, identity, seed=seed, clock=clock)
            runner = web.AppRunner(
                Routes(server).application(is_development=is_development),
                access_log=None,
                handler_cancellation=True,
                shutdown_timeout=_LONGEST_STOP_SECONDS,
            )
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, options.host, identity.port, ssl_context=tls).start()
            servers.append(server)
        yield servers
    finally:
        async with asyncio.TaskGroup() as stopping:
            for runner in runners:
                stopping.create_task(runner.cleanup())


async def _serve(options: Options, environment: Mapping[str, str], clock: Clock) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stopping.set)
    tls = ssl_context(options, clock.time_of_day())
    hosted = identities(options, environment)
    async with hosting(options, hosted, environment=environment, clock=clock, tls=tls):
        for identity in hosted:
            pod = f" as pod {identity.pod_name}" if identity.pod_name else ""
            logger.info("serving %s on port %d%s", options.model, identity.port, pod)
        await stopping.wait()
        for number in signals:
            loop.remove_signal_handler(number)  # a second signal ends the process at once
