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
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    _print(report, console)
    if any(figure.bad_answers for figure in report.figures):
        print(f"Some answers were wrong. The logs are in {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _print(report: Report, console: Console) -> None:
    machine = report.machine
    table = Table(title="CPU and memory of the picker, behind a real Envoy")
    table.add_column("case")
    for heading in ("picker", "Go picker", "ratio", "p50 ms", "p95 ms", "p99 ms", "requests/s"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for figure in report.figures:
        latency = figure.latency
        times = (
            [_number(ms) for ms in (latency.p50_ms, latency.p95_ms, latency.p99_ms)]
            if latency
            else ["", "", ""]
        )
        table.add_row(
            figure.name,
            _number(figure.value),
            _number(figure.reference),
            f"{figure.ratio:.2f}",
            *times,
            f"{figure.requests_per_second:.0f}" if figure.requests_per_second else "",
            figure.unit,
        )
    console.print(table)
    for figure in report.figures:
        if figure.note:
            console.print(f"{figure.name}: {figure.note}", highlight=False)
        for problem, count in figure.problems.items():
            console.print(f"[red]{figure.name}: {count} x {problem}[/red]", highlight=False)
    console.print(
        f"{machine.cpu_model}, {machine.cores} cores, Python {machine.python}, "
        f"{machine.git_commit}, {machine.date}. CPU is net of the idle rate of the same run; "
        "the Go figures are of two cores of another day: compare magnitudes.",
        highlight=False,
    )


def _number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
