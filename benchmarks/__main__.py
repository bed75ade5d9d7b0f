"""``python -m benchmarks``: what the picker costs, beside what the Go picker costs."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.bench import Bench, Figure, Report
from benchmarks.cases import ENVOY_MS_PER_SMALL_REQUEST, ENVOY_US_PER_CHUNK
from lab.process import ProcessError


def main() -> int:
    """Command line; the exit code is 1 when an answer was wrong or a process failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of five")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument(
        "--flag",
        action="append",
        default=[],
        dest="flags",
        metavar="FLAG",
        help="a further flag for the picker, e.g. --flag=--refresh-metrics-interval=1s",
    )
    arguments = parser.parse_args()
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="epp-benchmarks-"))

    def tell(figure: Figure) -> None:
        console.print(f"  {figure.name}: {_number(figure.value)} {figure.unit}", highlight=False)

    bench = Bench(directory, quick=arguments.quick, flags=arguments.flags, tell=tell)
    try:
        report = bench.run()
    except (ProcessError, OSError) as error:
        print(f"{error}\nThe logs are in {directory}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        shutil.rmtree(directory, ignore_errors=True)
        return 130
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    _print(report, console)
    if any(figure.bad_answers for figure in report.figures):
        print(f"Some answers were wrong. The logs are in {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _print(report: Report, console: Console) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("cost of the picker", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("here", "Go", "ratio", "p50", "p95", "p99", "req/s", "Envoy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in report.figures:
        latency = figure.latency
        times = [latency.p50_ms, latency.p95_ms, latency.p99_ms] if latency else [None] * 3
        rate = figure.requests_per_second or None
        table.add_row(
            figure.name,
            figure.unit.partition("/")[0],
            _number(figure.value),
            _number(figure.reference),
            f"{figure.ratio:.2f}",
            *map(_number, [*times, rate, figure.envoy_value]),
        )
    console.print(table)
    for figure in report.figures:
        if figure.note:
            console.print(f"{figure.name}: {figure.note}", highlight=False)
        for problem, count in figure.problems.items():
            console.print(f"[red]{figure.name}: {count} x {problem}[/red]", highlight=False)
    machine = report.machine
    console.print(
        f"\n{machine.cpu_model}, {machine.cores} cores (load {machine.load_average:.1f} at start), "
        f"Python {machine.python}, {machine.git_commit}, {machine.date}.\n"
        "CPU is net of the idle rate of the same run, latency in ms as the client sees it. The Go "
        "figures are of another two-core machine; Envoy, the same program in both, needed "
        f"{ENVOY_MS_PER_SMALL_REQUEST} ms per small request and {ENVOY_US_PER_CHUNK} us per chunk "
        "there, which tells how the machines compare.",
        highlight=False,
    )


def _number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
