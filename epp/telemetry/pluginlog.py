"""A log line when a plugin fails, and when it is called no more."""

from __future__ import annotations

import logging

from epp.core.clock import Clock
from epp.core.probe import Probe
from epp.telemetry import logs

logger = logging.getLogger("plugins")

EVERY_SECONDS = 60.0


class PluginLog(Probe):
    """Logs, at most once a minute for each plugin and extension point, why a plugin failed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged_at: dict[tuple[str, str], float] = {}
        self._failures: dict[tuple[str, str], int] = {}

    def plugin_failed(self, point: str, type_name: str, name: str, error: Exception) -> None:
        key = point, name
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        now = self._clock.now()
        logged_at = self._logged_at.get(key)
        if logged_at is not None and now - logged_at < EVERY_SECONDS:
            return
        self._logged_at[key] = now
        self._failures[key] = 0
        logs.error(
            logger,
            "Plugin failed",
            plugin=name,
            type=type_name,
            extensionPoint=point,
            error=_text(error),
            place=place(error),
            failures=failures,
        )

    def plugin_set_aside(self, point: str, type_name: str, name: str) -> None:
        logs.error(
            logger,
            "Plugin is set aside, it exceeds its time budget too often",
            plugin=name,
            type=type_name,
            extensionPoint=point,
        )


def place(error: BaseException) -> str:
    """``file:line`` of the last step in the plugin's file; empty if it is not where this began."""
    file, line = "", 0
    step = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        # Those who called the plugin come first; its methods are the first that are none of ours.
        if not file and not _is_ours(frame.f_globals.get("__name__", "")):
            file = frame.f_code.co_filename
        if frame.f_code.co_filename == file:
            line = step.tb_lineno
        step = step.tb_next
    return f"{file}:{line}" if file else ""


def _text(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_ours(module: str) -> bool:
    return module.startswith("epp.") and not module.startswith("epp.plugins.")
