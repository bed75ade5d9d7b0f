"""CPU time and memory of a process and of everything in its session."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lab.process import ROOT

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_MIB = 1024 * 1024


class CpuSpan:
    """Measures CPU time of a session from construction on; ``pid`` leads the session."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._started = time.monotonic()
        self._cpu_seconds = cpu_seconds(pid)

    def read(self) -> CpuUse:
        """What was used since construction."""
        return CpuUse(
            wall_seconds=time.monotonic() - self._started,
            cpu_seconds=cpu_seconds(self._pid) - self._cpu_seconds,
        )


class CpuUse(msgspec.Struct, frozen=True):
    """CPU time within a span of wall time."""

    wall_seconds: float
    cpu_seconds: float

    @property
    def cores(self) -> float:
        return self.cpu_seconds / self.wall_seconds

    def net(self, idle_cores: float) -> float:
        """CPU seconds beyond what an idle process would have used."""
        return self.cpu_seconds - idle_cores * self.wall_seconds


class Memory(msgspec.Struct, frozen=True):
    """Resident memory; the peak is None where the system does not tell."""

    now_mib: float
    peak_mib: float | None


def cpu_seconds(pid: int) -> float:
    """User and system time of the session's processes, all threads included.

    Resolution is 10 ms on Linux. A process that ended within a span is missing at its end.
    """
    if sys.platform == "linux":
        return sum(_linux_cpu_seconds(Path(f"/proc/{member}/stat")) for member in _session(pid))
    return sum(_ps_seconds(line) for line in _ps(pid, "time="))


def memory(pid: int) -> Memory:
    """Resident memory of the session's processes."""
    if sys.platform == "linux":
        now = peak = 0.0
        for member in _session(pid):
            status = _read(Path(f"/proc/{member}/status"))
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            now += int(fields["VmRSS"].split()[0]) / 1024 if "VmRSS" in fields else 0
            peak += int(fields["VmHWM"].split()[0]) / 1024 if "VmHWM" in fields else 0
        return Memory(now, peak)
    return Memory(sum(int(line) for line in _ps(pid, "rss=")) * 1024 / _MIB, None)


class Machine(msgspec.Struct, frozen=True):
    """Where and when figures were measured."""

    cpu_model: str
    cores: int
    system: str
    python: str
    git_commit: str
    date: str
    # Over the last minute; above zero before a run, others disturb it.
    load_average: float

    @classmethod
    def here(cls) -> Machine:
        """This machine, now."""
        return cls(
            cpu_model=_cpu_model(),
            cores=os.cpu_count() or 0,
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            python=platform.python_version(),
            git_commit=_output("git", "describe", "--always", "--dirty") or "unknown",
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            load_average=os.getloadavg()[0],
        )


def _session(pid: int) -> list[int]:
    """Processes whose session this process leads; fields of stat are counted after the name."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _read(entry / "stat").rpartition(")")[2].split()
            if stat and int(stat[3]) == pid:
                members.append(int(entry.name))
    return members


def _linux_cpu_seconds(stat: Path) -> float:
    fields = _read(stat).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND if fields else 0.0


def _read(path: Path) -> str:
    """The text, or nothing when the process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _ps(pid: int, column: str) -> list[str]:
    return (
        _output("ps", "-o", column, "-g", str(pid)).split()
        or _output("ps", "-o", column, "-p", str(pid)).split()
    )


def _ps_seconds(text: str) -> float:
    """Seconds of ``[[days-]hours:]minutes:seconds``."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86_400 * int(days or 0)


def _cpu_model() -> str:
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
