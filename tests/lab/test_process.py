from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.process import ROOT, Process, ProcessError, running

pytestmark = pytest.mark.system

PYTHON = sys.executable


def is_alive(pid: int) -> bool:
    """Zombies, which wait for a parent that may be slow, count as dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_dead(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def script(text: str) -> list[str]:
    return [PYTHON, "-u", "-c", text]


def test_a_child_is_ready_when_handed_over_and_gone_when_left(tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    command = script(f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(60)")
    with running("child", command, log=tmp_path / "log", ready=flag.exists) as child:
        assert flag.exists()
        assert child.running
    assert child.exit_code == -signal.SIGTERM


def test_a_child_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(ProcessError, match=r"(?s)child ended early with code 3.*out of luck"),
        running(
            "child",
            script("print('out of luck'); raise SystemExit(3)"),
            log=tmp_path / "log",
            ready=lambda: False,
        ),
    ):
        pass


def test_a_child_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    child = Process("child", script("import time; time.sleep(60)"), log=tmp_path / "log")
    with pytest.raises(ProcessError, match=r"not ready within 0\.2 s"), child:
        child.wait_ready(lambda: False, timeout_seconds=0.2)
    assert not child.running


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(60)"
    log = tmp_path / "log"
    with Process("child", script(text), log=log) as child:
        child.wait_ready(lambda: "on" in log.read_text())
        assert child.stop(grace_seconds=0.2) == -signal.SIGKILL


def test_grandchildren_end_with_the_child(tmp_path: Path) -> None:
    text = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid); time.sleep(60)"
    log = tmp_path / "log"
    with Process("child", script(text), log=log) as child:
        child.wait_ready(lambda: log.read_text().endswith("\n"))
        grandchild = int(log.read_text())
        assert is_alive(grandchild)
    assert wait_dead(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_parent(how: signal.Signals, tmp_path: Path) -> None:
    text = f"""
import pathlib, time
from lab.process import Process
child = Process("child", ["/bin/sleep", "60"], log=pathlib.Path({str(tmp_path / "log")!r}))
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        script(text), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        # The launcher becomes the program a moment later.
        time.sleep(0.3)
        assert is_alive(child)
        os.kill(parent.pid, how)
    assert wait_dead(child)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the state from /proc")
def test_a_paused_child_stands_still_and_can_still_be_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ticks = script("import time\nwhile True: print('tick'); time.sleep(0.01)")
    with running("child", ticks, log=log, ready=lambda: "tick" in log.read_text()) as child:
        child.pause()
        assert wait_for_state(child.pid, "T")
        before = log.read_text()
        time.sleep(0.1)
        assert log.read_text() == before
        child.resume()
        child.wait_ready(lambda: log.read_text() != before, timeout_seconds=5)
        child.pause()
        assert child.stop() == -signal.SIGTERM
    child.pause()
    child.resume()


def wait_for_state(pid: int, state: str) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == state:
            return True
        time.sleep(0.01)
    return False
