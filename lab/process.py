"""Child processes that are ready when they are handed over and gone when they are left.

Theory of operation: every child leads a session of its own, so Ctrl-C in the terminal reaches only
the parent and one signal to the group reaches everything the child has started. Three things end a
child: leaving the ``with`` block (SIGTERM, then SIGKILL), the parent's normal or exceptional exit
(a finalizer), and on Linux the parent's sudden death (the kernel's parent-death signal, set by a
launcher that then becomes the program; elsewhere there is no such signal). That signal is tied to
the thread that started the child: start children from a thread that lives as long as they shall.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent

# PR_SET_PDEATHSIG is 1. The parent may have died before the call, hence the look at getppid.
_LAUNCHER = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
_POLL_SECONDS = 0.05


class ProcessError(RuntimeError):
    """A child that ended early, or was not ready in time; the text has the end of its log."""


class Process:
    """One child process; its output goes to a log file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path = ROOT,
    ) -> None:
        """Start ``command`` (an absolute program path and arguments).

        ``environment`` is added to the parent's; ``log`` is appended to.
        """
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [*launcher, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._finalizer = weakref.finalize(self, _kill_group, self._child)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._child.poll()

    def wait_ready(self, probe: Callable[[], bool], *, timeout_seconds: float = 30.0) -> None:
        """Block until ``probe`` is true; an ``OSError`` of the probe counts as "not yet".

        Raises:
            ProcessError: the child ended, or time ran out.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            if not self.running:
                raise ProcessError(
                    f"{self.name} ended early with code {self.exit_code}\n{self.describe()}"
                )
            with contextlib.suppress(OSError):
                if probe():
                    return
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"{self.name} was not ready within {timeout_seconds:g} s\n{self.describe()}"
                )
            time.sleep(_POLL_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child itself, not to what it started."""
        self._child.send_signal(number)

    def pause(self) -> None:
        """Stop the child and what it started from running, until ``resume``."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the child and what it started run again; nothing happens when they do."""
        self._signal_group(signal.SIGCONT)

    def wait(self, timeout_seconds: float) -> int:
        """Block until the child ends by itself; returns its exit code.

        Raises:
            ProcessError: it still runs when time is up.
        """
        try:
            code = self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(
                f"{self.name} still runs after {timeout_seconds:g} s\n{self.describe()}"
            ) from None
        self._finish()
        return code

    def stop(self, *, grace_seconds: float = 5.0) -> int:
        """SIGTERM, then SIGKILL when the grace is over; returns the exit code. May be repeated."""
        if self.running:
            self._child.terminate()
            self.resume()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_seconds)
        self._finish()
        return self._child.wait()

    def describe(self, *, lines: int = 30) -> str:
        """The log's place and its last lines."""
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"--- {self.log} (last {lines} lines)", *text[-lines:], "---"])

    def _signal_group(self, number: int) -> None:
        # Of a child that has ended the number may be another's by now.
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _finish(self) -> None:
        self._finalizer()


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool],
    timeout_seconds: float = 30.0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Start a child, hand it over once ``ready`` says so, stop it at the end.

    Raises:
        ProcessError: the child ended early, or was not ready in time.
    """
    with Process(name, command, log=log, environment=environment) as process:
        process.wait_ready(ready, timeout_seconds=timeout_seconds)
        yield process


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child's group; the group outlives its leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
