"""The command line: ``epp`` alone serves, sub-commands live in the rooms of their subjects."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from epp import BUILD_REF, COMMIT_SHA
from epp.core.errors import StartError
from epp.core.plugin import REGISTRY
from epp.flags.options import Options, read_options, usage_text
from epp.flags.validation import OptionsError, validate
from epp.goflags import HelpRequested, UsageError
from epp.telemetry import logs

USAGE_STATUS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command, or the picker; returns the exit status."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if argv and argv[0] == "simulator":
        from epp.simulator.cli import main as simulator

        return simulator(argv[1:])
    if argv and argv[0] == "check-config":
        import epp.plugins
        from epp.config.check import main as check_config

        epp.plugins.load()
        return check_config(argv[1:], REGISTRY)
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
