from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.measure import CpuSpan, CpuUse, memory
from lab.process import running


def test_idle_use_is_taken_off() -> None:
    use = CpuUse(wall_seconds=10.0, cpu_seconds=3.0)
    assert use.cores == pytest.approx(0.3)
    assert use.net(0.1) == pytest.approx(2.0)


@pytest.mark.system
def test_cpu_and_memory_of_a_session_include_children(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint('spun', flush=True)"
    text = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {busy + "; time.sleep(60)"!r}])
time.sleep(60)
"""
    log = tmp_path / "log"
    command = [sys.executable, "-c", text]
    with running("busy", command, log=log, ready=lambda: "spun" in log.read_text()) as process:
        span = CpuSpan(process.pid)
        time.sleep(0.3)
        assert span.read().cores < 0.2
        assert memory(process.pid).now_mib > 8
    assert memory(os.getsid(0)).now_mib >= 0
