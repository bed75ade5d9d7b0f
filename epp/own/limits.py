"""How long the calls of a user's plugin may take."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from epp.core.plugin import Handle, Plugin, PluginType
from epp.own.alarm import Alarm, survive
from epp.own.roles import methods_of, overridden, roles_of

# A process has one such timer and one handler of SIGALRM, whoever uses them.
_ALARM = Alarm()


def limited(
    catalogue: Mapping[str, PluginType], budget_seconds: float, hard_limit_seconds: float
) -> Mapping[str, PluginType]:
    """The same types; plugins of those that are not built in are watched once they are made."""
    return {
        name: declared
        if not declared.origin
        else msgspec.structs.replace(
            declared, make=partial(_make, declared, budget_seconds, hard_limit_seconds)
        )
        for name, declared in catalogue.items()
    }


def _make(
    declared: PluginType,
    budget_seconds: float,
    hard_limit_seconds: float,
    params: Any,
    handle: Handle,
) -> Plugin:
    made = declared.make(params, handle)
    limit(made, budget_seconds, hard_limit_seconds)
    return made


def limit(
    plugin: Plugin,
    budget_seconds: float,
    hard_limit_seconds: float,
    *,
    alarm: Alarm = _ALARM,
) -> None:
    """Have the plugin's calls watched: done once per instance, by whoever made it.

    A call over ``budget_seconds`` counts against the plugin, which is set aside when that happens
    often (see ``core.call``). One over ``hard_limit_seconds`` is broken off by PluginOverrunError,
    as far as it runs Python code in the main thread. 0 switches either off. An exception that
    would end the process (SystemExit) is RuntimeError in any case.
    """
    state = vars(plugin)
    # Without a budget, calls that have to be broken off still count.
    budgets = [seconds for seconds in (budget_seconds, hard_limit_seconds) if seconds > 0]
    state["budget_seconds"] = budgets[0] if budgets else None
    has_alarm = hard_limit_seconds > 0 and alarm.install()
    for name in _watched(plugin):
        method = getattr(plugin, name)
        state[name] = (
            alarm.limit(method, plugin, name, hard_limit_seconds) if has_alarm else survive(method)
        )


def _watched(plugin: Plugin) -> set[str]:
    """The methods that are the plugin's own; what it inherits from a role does nothing."""
    cls = type(plugin)
    names = {name for role in roles_of(cls) for name in overridden(cls, role)}
    names |= {name for role in roles_of(cls) for name in methods_of(role) if name in vars(plugin)}
    if cls.describe is not Plugin.describe:
        names.add("describe")
    return names
