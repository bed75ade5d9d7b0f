"""Several probes as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from epp.core.probe import Probe, Timer

_REPORTS = tuple(
    name for name in vars(Probe) if not name.startswith("_") and name != "plugin_timer"
)


class Probes(Probe):
    """Hands each report to those probes that do something with it.

    Who that is, is settled once: a report that one probe wants is that probe's own method, so that
    it costs nothing more, and a report that nobody wants ends here.
    """

    def __init__(self, *probes: Probe) -> None:
        self._timing = [
            probe for probe in probes if type(probe).plugin_timer is not Probe.plugin_timer
        ]
        for report in _REPORTS:
            wanted = [
                getattr(probe, report)
                for probe in probes
                if getattr(type(probe), report) is not getattr(Probe, report)
                or report in getattr(probe, "__dict__", ())
            ]
            if wanted:
                setattr(self, report, wanted[0] if len(wanted) == 1 else _each(wanted))

    def plugin_timer(self, point: str, type_name: str, name: str) -> Timer:
        timers = [probe.plugin_timer(point, type_name, name) for probe in self._timing]
        return timers[0] if len(timers) == 1 else _each(timers)


def _each(receivers: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def report(*args: Any, **kwargs: Any) -> None:
        for receiver in receivers:
            receiver(*args, **kwargs)

    return report
