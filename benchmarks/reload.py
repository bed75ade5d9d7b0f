"""What a change of configuration costs a running picker: ``python -m benchmarks.reload``.

Ten model servers, a real Envoy, 300 requests per second; the configuration changes every second,
back and forth. The number of failed requests should be 0 on any machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.bed import bed
from benchmarks.load import Plan, Result
from epp.config.load import DEFAULT_CONFIG
from lab.envoy import run_envoy
from lab.picker import run_picker
from lab.process import ROOT, Process

RATE = 300.0
ENDPOINTS = 10
OTHER_CONFIG = DEFAULT_CONFIG.replace("weight: 3", "weight: 5").replace(
    "- type: queue-scorer", "- type: running-requests-size-scorer\n  name: queue-scorer"
)
_STARTING_SECONDS = 2.0
_EVERY_SECONDS = 1.5


def main() -> int:
    """Command line; the exit code is 1 when requests failed, or a change was not taken over."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reload", description=__doc__)
    parser.add_argument("--changes", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="epp-reload-") as folder:
        directory = Path(folder)
        config = directory / "changing.yaml"
        config.write_text(DEFAULT_CONFIG)
        with (
            bed(directory, endpoints=ENDPOINTS) as servers,
            run_picker(directory, servers.endpoints, flags=[f"--config-file={config}"]) as picker,
            run_envoy(directory, picker_port=picker.port, endpoints=servers.endpoints) as envoy,
        ):
            result = _load(directory, envoy.port, config, options.changes)
            lines = picker.process.log.read_text().splitlines()
    seconds = [
        json.loads(line[line.index("{") :])["seconds"]
        for line in lines
        if "Took over the conf" in line
    ]
    print(f"{len(seconds)} of {options.changes} changes were taken over, each in", end=" ")
    print(f"{statistics.median(seconds) * 1e3:.1f} ms ({max(seconds) * 1e3:.1f} at most)")
    print(f"{result.sent} requests at {RATE:.0f}/s, {result.bad} failed {result.problems or ''}")
    print(f"p50 {result.percentile(0.5):.1f} ms, p99 {result.percentile(0.99):.1f} ms")
    return int(result.bad > 0 or len(seconds) < options.changes)


def _load(directory: Path, port: int, config: Path, changes: int) -> Result:
    """Requests while the configuration changes so many times."""
    span = _STARTING_SECONDS + (changes + 1) * _EVERY_SECONDS
    plan = Plan(port=port, requests=int(RATE * span), seconds=span, rate=RATE)
    plan_file, result_file = directory / "plan.json", directory / "result.json"
    plan_file.write_bytes(msgspec.json.encode(plan))
    command = [sys.executable, "-m", "benchmarks.load", str(plan_file), str(result_file)]
    with Process("load", command, log=directory / "load.log", directory=ROOT) as load:
        time.sleep(_STARTING_SECONDS)
        for number in range(changes):
            config.write_text(DEFAULT_CONFIG if number % 2 else OTHER_CONFIG)
            time.sleep(_EVERY_SECONDS)
        load.wait(span + 60)
    return msgspec.json.decode(result_file.read_bytes(), type=Result)


if __name__ == "__main__":
    sys.exit(main())
