"""The demonstration, as a newcomer sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.system


def start(*arguments: str) -> subprocess.Popen[str]:
    """The demo in a process group of its own, by which its children can be found."""
    return subprocess.Popen(
        [sys.executable, "-m", "lab.demo", *arguments], stdout=subprocess.PIPE, text=True
    )


def test_every_request_of_the_demo_ends_as_expected() -> None:
    demo = start("--once")
    told, _ = demo.communicate(timeout=90)
    assert demo.returncode == 0, told
    assert "15 of 15 requests ended as expected" in told
    assert "prefix(3)" in told


def test_ctrl_c_ends_the_demo_and_all_it_started() -> None:
    demo = start()
    assert demo.stdout is not None
    for line in demo.stdout:
        if "Ctrl-C" in line:
            break
    children = children_of(demo.pid)
    assert len(children) >= 3
    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 0
    demo.stdout.close()
    for _ in range(100):
        if not any(is_alive(pid) for pid in children):
            break
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in children)


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
