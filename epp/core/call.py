"""Calls of plugins: timed, and survived.

The loops that call plugins time each call and go on without a plugin that raises, or returns what
it may not::

    if call.is_aside:
        continue
    started = perf_counter()
    try:
        scores = tuple(scorer.score(request, endpoints))
    except Exception as error:
        call.failed(error)
        continue
    call.ran(perf_counter() - started)

Differs: in the Go pickers a plugin that panics ends the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, Generic, TypeVar

from epp.core.endpoint import Endpoint
from epp.core.errors import EppError
from epp.core.plugin import Plugin
from epp.core.probe import Probe

P = TypeVar("P", bound=Plugin)

STRIKES = 10
"""After so many calls over the budget, less one for every ten within it, a plugin is set aside."""


class PluginCall(Generic[P]):
    """How one plugin does at one extension point; made once, when a configuration is loaded.

    ``ran`` is told the seconds of each call that ended well, ``failed`` what went wrong with one.
    A plugin with a time budget (``Plugin.budget_seconds``) that keeps exceeding it ``is_aside``:
    it is no longer to be called.
    """

    __slots__ = ("_probe", "_strikes", "_timed", "failed", "is_aside", "plugin", "point", "ran")

    def __init__(self, plugin: P, point: str, probe: Probe) -> None:
        self.plugin = plugin
        self.point = point
        self.is_aside = False
        self._probe = probe
        self._strikes = 0.0
        self._timed = probe.plugin_timer(point, plugin.type, plugin.name)
        self.ran: Callable[[float], None] = (
            self._timed if plugin.budget_seconds is None else self._ran_within
        )
        self.failed = self._failed

    def _ran_within(self, seconds: float) -> None:
        self._timed(seconds)
        budget = self.plugin.budget_seconds
        assert budget is not None
        if seconds <= budget:
            self._strikes = max(0.0, self._strikes - 0.1)
            return
        self._probe.plugin_overran(self.point, self.plugin.type, self.plugin.name, seconds)
        self._strikes += 1
        if self._strikes >= STRIKES:
            self.is_aside = True
            self._probe.plugin_set_aside(self.point, self.plugin.type, self.plugin.name)

    def _failed(self, error: Exception) -> None:
        self._probe.plugin_failed(self.point, self.plugin.type, self.plugin.name, error)
        if isinstance(error, PluginOverrunError):
            self._ran_within(error.seconds)


class PluginOverrunError(Exception):
    """A call was stopped because it took far too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"stopped after {seconds * 1000:.0f} ms")
        self.seconds = seconds


def calls(plugins: Iterable[P], point: str, probe: Probe) -> tuple[PluginCall[P], ...]:
    """One for each plugin, in their order."""
    return tuple([PluginCall(plugin, point, probe) for plugin in plugins])


def in_role(role: type[P], plugins: Iterable[Plugin]) -> list[P]:
    """The plugins that fill a role, in their order."""
    return [plugin for plugin in plugins if isinstance(plugin, role)]


def run(call: PluginCall[Any], method: Callable[..., Any], *args: Any) -> Any:
    """What the call returns; None when it failed, or the plugin was set aside.

    Raises:
        EppError: the plugin refuses the request.
    """
    if call.is_aside:
        return None
    started = perf_counter()
    try:
        result = method(*args)
    except EppError:
        raise
    except Exception as error:
        call.failed(error)
        return None
    call.ran(perf_counter() - started)
    return result


def ids_among(kept: Sequence[Endpoint], endpoints: Sequence[Endpoint]) -> set[str]:
    """The ids of ``kept``.

    Raises:
        ValueError: one of them is none of ``endpoints``.
    """
    ids = {endpoint.id for endpoint in kept}
    if not ids <= {endpoint.id for endpoint in endpoints}:
        raise ValueError("returned an endpoint that it was not given")
    return ids
