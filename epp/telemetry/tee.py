"""Several probes as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from epp.core.probe import Probe

_REPORTS = tuple(name for name in vars(Probe) if not name.startswith("_"))
_TIMERS = frozenset({"plugin_timer", "gap_timer", "load_gauge"})


class Probes(Probe):
    """Hands each report to those probes that do something with it.

    Who that is, is settled once: a report that one probe wants is that probe's own method, so that
    it costs nothing more, and a report that nobody wants ends here.
    """

    def __init__(self, *probes: Probe) -> None:
        for report in _REPORTS:
            wanted = [
                getattr(probe, report)
                for probe in probes
                if getattr(type(probe), report) is not getattr(Probe, report)
                or report in getattr(probe, "__dict__", ())
            ]
            if len(wanted) == 1:
                setattr(self, report, wanted[0])
            elif wanted:
                setattr(self, report, (_timers if report in _TIMERS else _each)(wanted))


def _each(receivers: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def report(*args: Any, **kwargs: Any) -> None:
        for receiver in receivers:
            receiver(*args, **kwargs)

    return report


def _timers(makers: Sequence[Callable[..., Callable[..., None]]]) -> Callable[..., Any]:
    return lambda *args: _each([make(*args) for make in makers])
