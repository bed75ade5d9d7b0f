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

import re
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Generic, TypeVar

from epp.core.endpoint import Endpoint
from epp.core.errors import EppError
from epp.core.plugin import Plugin
from epp.core.probe import Probe

P = TypeVar("P", bound=Plugin)

STRIKES = 10
"""After so many calls over the budget, less one for every ten within it, a plugin is set aside."""


_HEADER_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_NOT_IN_HEADERS = re.compile(rb"[\0\r\n]")


class PluginCall(Generic[P]):
    """How one plugin does at one extension point; made once, when a configuration is loaded.

    ``ran`` is told the seconds of each call that ended well. A plugin with a time budget
    (``Plugin.budget_seconds``) that keeps exceeding it ``is_aside``: it is no longer to be called.
    """

    __slots__ = (
        "_budget",
        "_probe",
        "_strikes",
        "_timed",
        "is_aside",
        "name",
        "plugin",
        "point",
        "ran",
    )

    def __init__(self, plugin: P, point: str, probe: Probe) -> None:
        self.plugin = plugin
        self.name = plugin.name
        self.point = point
        self.is_aside = False
        self._probe = probe
        self._budget = plugin.budget_seconds
        self._strikes = 0.0
        self._timed = probe.plugin_timer(point, plugin.type, self.name)
        self.ran: Callable[[float], None] = (
            self._timed if self._budget is None else self._ran_within
        )

    def _ran_within(self, seconds: float) -> None:
        self._timed(seconds)
        if self._budget is None or seconds <= self._budget:
            self._strikes = max(0.0, self._strikes - 0.1)
        else:
            self._overran(seconds)

    def _overran(self, seconds: float) -> None:
        plugin = self.plugin
        self._probe.plugin_overran(self.point, plugin.type, self.name, seconds)
        self._strikes += 1
        if self._strikes >= STRIKES and not self.is_aside:
            self.is_aside = True
            self._probe.plugin_set_aside(self.point, plugin.type, self.name)

    def failed(self, error: Exception) -> None:
        """Something went wrong with a call; one that was stopped counts as one over the budget.

        Of a plugin without a budget it does not: it called another, which is to blame.
        """
        plugin = self.plugin
        self._probe.plugin_failed(self.point, plugin.type, self.name, error)
        if isinstance(error, PluginOverrunError) and self._budget is not None:
            self._overran(error.seconds)


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
    """What the call returns; None when it failed, or the plugin was set aside."""
    if call.is_aside:
        return None
    started = perf_counter()
    try:
        result = method(*args)
    except Exception as error:
        call.failed(error)
        return None
    call.ran(perf_counter() - started)
    return result


def ask(call: PluginCall[Any], method: Callable[..., Any], *args: Any) -> Any:
    """The same of a plugin that may refuse a request.

    Raises:
        EppError: it does.
    """
    if call.is_aside:
        return None
    started = perf_counter()
    try:
        result = method(*args)
    except EppError:
        call.ran(perf_counter() - started)
        raise
    except Exception as error:
        call.failed(error)
        return None
    call.ran(perf_counter() - started)
    return result


def kept_and_removed(
    kept: Iterable[Endpoint], endpoints: tuple[Endpoint, ...]
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Those of ``endpoints`` that a plugin keeps, in their order, and the others.

    Raises:
        ValueError: it keeps one that is none of them.
    """
    kept = tuple(kept)
    if kept == endpoints:  # compares identities, and saves two sets
        return endpoints, ()
    ids = {endpoint.id for endpoint in kept}
    left = tuple([endpoint for endpoint in endpoints if endpoint.id in ids])
    if len(left) != len(ids):
        raise ValueError("returned an endpoint that it was not given")
    return left, tuple([endpoint for endpoint in endpoints if endpoint.id not in ids])


def check_header(name: str, value: bytes) -> None:
    """Whether a plugin may set this header: a proxy gives up a request over a wrong one.

    Raises:
        TypeError: the name is no text, or the value no bytes.
        ValueError: the name is not in lower case, or one of them is not allowed in HTTP.
    """
    if not isinstance(value, bytes):
        raise TypeError(f"the value of the header {name!r} is no bytes")
    if not _HEADER_NAME.fullmatch(name) or _NOT_IN_HEADERS.search(value):
        raise ValueError(f"not allowed as a header: {name!r}: {value!r}")
