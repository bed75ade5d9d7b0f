"""How long the calls of a user's plugin may take."""

from __future__ import annotations

from epp.core.plugin import Plugin
from epp.own.alarm import Alarm, survive
from epp.own.roles import methods_of, overridden, roles_of

# A process has one such timer and one handler of SIGALRM, whoever uses them.
_ALARM = Alarm()


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
