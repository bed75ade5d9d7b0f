"""Fails when a piece of the picker's work has become dearer: ``python -m benchmarks.check``.

Theory of operation: each piece of ``benchmarks.inside`` is timed in short slices of CPU time
between two slices of a calibration of the same kind, and what is kept and compared is the median
of their ratios. Machine, frequency and noisy neighbours slow all three down alike. Over twelve
runs, half of them beside two busy processes on two cores, most ratios stayed within 5 % and all
within 11 %. A piece over the limit is timed twice more and the least counts,
so that only what stays dear fails.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.inside import Work, works
from benchmarks.measure import Machine

KEPT = Path(__file__).with_name("kept-check.json")
LIMIT = 1.2
"""How many times the kept cost is too much."""

_ROUNDS = 15
_SLICE_SECONDS = 0.02
_ATTEMPTS = 3

Cpu = Callable[[], float]
"""Seconds of CPU time used so far."""


class KeptRatios(msgspec.Struct, frozen=True):
    """Cost of each piece in units of its calibration, where and when it was measured."""

    machine: Machine
    ratios: dict[str, float]


Kept = dict[str, KeptRatios]
"""By minor version of Python, ``3.11``: its speed is part of every ratio."""


class Verdict(msgspec.Struct, frozen=True):
    """One piece, then and now; ``kept`` is None for a new one, ``now`` for one that is gone."""

    name: str
    kept: float | None
    now: float | None

    @property
    def change(self) -> float | None:
        """How many times the kept cost."""
        return self.now / self.kept if self.now and self.kept else None

    @property
    def is_good(self) -> bool:
        """Whether both are known and it is not much dearer than it was."""
        return self.change is not None and self.change <= LIMIT

    def __str__(self) -> str:
        if self.kept is None:
            return f"{self.name}: nothing kept (now {self.now:.3g}); record it with --keep"
        if self.now is None:
            return f"{self.name}: kept, but no longer measured; record anew with --keep"
        mark = "" if self.is_good else f"   more than {LIMIT - 1:.0%} dearer"
        change = self.now / self.kept - 1
        return f"{self.name}: kept {self.kept:.3g}, now {self.now:.3g} ({change:+.0%}){mark}"


def measure(work: Work, *, cpu: Cpu = time.process_time, rounds: int = _ROUNDS) -> float:
    """What one call costs, in calls of its calibration."""
    calls = _calls_within(work.run, _SLICE_SECONDS, cpu)
    calibrations = _calls_within(work.calibration, _SLICE_SECONDS / 2, cpu)
    ratios = []
    for _ in range(rounds):
        gc.collect()
        before = _seconds_per_call(work.calibration, calibrations, cpu)
        cost = _seconds_per_call(work.run, calls, cpu)
        after = _seconds_per_call(work.calibration, calibrations, cpu)
        ratios.append(2 * cost / (before + after))
    return statistics.median(ratios)


def check(
    pieces: Sequence[Work], kept: Mapping[str, float], *, cpu: Cpu = time.process_time
) -> list[Verdict]:
    """A verdict for each piece, measured or kept."""
    verdicts = []
    for work in pieces:
        before = kept.get(work.name)
        verdict = Verdict(work.name, before, measure(work, cpu=cpu))
        for _ in range(_ATTEMPTS - 1):
            if before is None or verdict.is_good:
                break
            now = min(verdict.now or 0.0, measure(work, cpu=cpu))
            verdict = Verdict(work.name, before, now)
        verdicts.append(verdict)
    names = {work.name for work in pieces}
    return verdicts + [Verdict(name, kept[name], None) for name in kept if name not in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit code is 1 when a piece is too dear, or cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="record what is measured now")
    parser.add_argument("--file", type=Path, default=KEPT, help="where figures are kept")
    options = parser.parse_args(arguments)
    version = ".".join(platform.python_version_tuple()[:2])
    kept = (
        msgspec.json.decode(options.file.read_bytes(), type=Kept) if options.file.exists() else {}
    )
    if options.keep:
        kept[version] = KeptRatios(Machine.here(), _ratios_to_keep())
        text = msgspec.json.format(msgspec.json.encode(kept, order="sorted"), indent=2)
        options.file.write_bytes(text + b"\n")
        print(f"kept for Python {version} in {options.file}")
        return 0
    if version not in kept:
        known = ", ".join(sorted(kept)) or "no version"
        print(f"figures are kept for {known}, not for Python {version}: record them with --keep")
        return 1
    verdicts = check(works(), kept[version].ratios)
    for verdict in verdicts:
        print(verdict)
    return 0 if all(verdict.is_good for verdict in verdicts) else 1


def _ratios_to_keep() -> dict[str, float]:
    """Each piece's median of three passes over all, so that a disturbance is not kept."""
    pieces = works()
    passes = [[measure(work) for work in pieces] for _ in range(3)]
    return {
        work.name: round(statistics.median(found), 4)
        for work, *found in zip(pieces, *passes, strict=True)
    }


def _calls_within(run: Callable[[], None], seconds: float, cpu: Cpu) -> int:
    """How many calls take about so long; the calls for finding out also warm up."""
    calls = 1
    while (spent := _seconds_per_call(run, calls, cpu) * calls) < seconds:
        calls = calls * 2 if spent < seconds / 2 else calls + calls // 4 + 1
    return calls


def _seconds_per_call(run: Callable[[], None], calls: int, cpu: Cpu) -> float:
    started = cpu()
    for _ in range(calls):
        run()
    return (cpu() - started) / calls


if __name__ == "__main__":
    sys.exit(main())
