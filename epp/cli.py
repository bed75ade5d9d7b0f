"""The command line: ``epp`` alone serves, sub-commands live in the rooms of their subjects."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence

from epp import BUILD_REF, COMMIT_SHA
from epp.core.errors import StartError
from epp.flags.options import Options, read_options, usage_text
from epp.flags.validation import OptionsError, validate
from epp.goflags import HelpRequested, UsageError
from epp.telemetry import logs

USAGE_STATUS = 2


COMMANDS = {
    "simulator": "epp.simulator.cli",
    "check-config": "epp.checking",
    "new-plugin": "epp.own.new",
    "bench-plugin": "epp.own.bench",
}
"""Sub-commands, and the modules with their ``main``; each is loaded only when it is asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command, or the picker; returns the exit status."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if argv and argv[0] in COMMANDS:
        module = importlib.import_module(COMMANDS[argv[0]])
        command: Callable[[Sequence[str]], int] = module.main
        return command(argv[1:])
    return _serve(argv)


def _serve(argv: Sequence[str]) -> int:
    try:
        options, notices = read_options(argv, os.environ)
    except HelpRequested:
        sys.stderr.write(usage_text())
        return 0
    except UsageError as error:
        sys.stderr.write(f"{error}\n{usage_text()}")
        return USAGE_STATUS
    logger = logging.getLogger("setup")
    logs.setup(
        verbosity=options.verbosity,
        encoder=options.zap_encoder,
        time_encoding=options.zap_time_encoding,
        log_level=options.zap_log_level,
        stacktrace_level=options.zap_stacktrace_level,
    )
    logs.log(logger, 0, "GIE build", **{"commit-sha": COMMIT_SHA, "build-ref": BUILD_REF})
    try:
        validate(options)
        logs.log(logger, 0, "Flags processed", flags=options.texts)
        for notice in notices:
            logger.warning(notice)
        return _run(options, logger)
    except OptionsError as error:
        logs.error(logger, "Failed to validate flags", error=str(error))
        return 1


def _run(options: Options, logger: logging.Logger) -> int:
    # grpcio would print a line per connection about Istio's SNI, which is no DNS name.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from epp.app import run  # the flags are checked before anything heavy is loaded

    try:
        run(options)
    except StartError as error:
        logs.error(logger, "Failed to start", error=str(error))
        return 1
    return 0
