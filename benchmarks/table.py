"""Figures as tables: on the terminal, and as Markdown for the README."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.figures import Latency, Report, Sample, Spread, ratio, ratio_to_go, spread


class Table(msgspec.Struct, frozen=True):
    """Headings and lines of text; the first column is the name of a case."""

    headings: list[str]
    lines: list[list[str]]

    def markdown(self) -> str:
        """A Markdown table; numbers stand on the right."""
        rule = ["---"] + ["---:"] * (len(self.headings) - 1)
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.headings, rule, *self.lines))

    def print(self, console: Console) -> None:
        """On a terminal, however narrow it says it is."""
        table = RichTable(box=None, padding=(0, 2, 0, 0))
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if index else "left", no_wrap=True)
        for line in self.lines:
            table.add_row(*line)
        console.print(table)


def costs(report: Report) -> Table:
    """What the picker costs, beside the other's figures or the kept ones."""
    compared = bool(report.compared_with)
    headings = ["cost of the picker", "unit", "ours"]
    headings += ["other", "ours/other"] if compared else ["Go, kept", "ours/Go"]
    headings += ["at most"] + (["Go, kept"] if compared else [])
    lines = []
    for row in report.rows:
        reference = row.reference
        go = number(reference.go)
        line = [row.name, reference.unit.partition("/")[0], _spread(spread(row.ours))]
        if compared:
            line += [_spread(spread(row.other)), _spread(ratio(row)), number(reference.ratio), go]
        else:
            line += [go, number(ratio_to_go(row)), number(reference.ratio)]
        lines.append(line)
    return Table(headings, lines)


def service(report: Report) -> Table:
    """What surrounds the costs: latency, throughput, Envoy, load generator, wrong answers."""
    headings = ["as the client sees it", "picker", "p50", "p95", "p99", "req/s", "Envoy"]
    headings += ["load cores", "wrong"]
    lines = []
    for row in report.rows:
        for name, samples in (("ours", row.ours), ("other", row.other)):
            if any(sample.latency for sample in samples):
                lines.append([row.name, name, *_service(samples)])
    return Table(headings, lines)


def caption(report: Report) -> str:
    """How to read the tables, and where and when the figures were measured."""
    if report.compared_with:
        what = f"Other: {report.compared_with}. Ratios are of medians (lowest - highest round)."
    else:
        what = (
            "No other picker was at hand: compared with kept figures of the 2025 Go picker on "
            "another two-core machine, which may have been faster or slower than this one."
        )
    return "\n".join(
        part
        for part in (
            f"{'Quick run, ' if report.quick else ''}{report.rounds} "
            f"{'round' if report.rounds == 1 else 'rounds'}; median (lowest - highest). CPU is net "
            "of the idle rate of the same round, latency in ms.",
            what,
            place(report),
        )
        if part
    )


def place(report: Report) -> str:
    """Machine, Python, commit and date in a line."""
    machine = report.machine
    return (
        f"{machine.cpu_model}, {machine.cores} cores (load {machine.load_average:.1f} at start), "
        f"Python {machine.python}, commit {machine.git_commit}, {machine.date}."
    )


def notes(report: Report) -> list[str]:
    """What makes a figure doubtful: wrong answers, a saturated load generator, missing reads."""
    found = []
    for row in report.rows:
        for name, samples in (("ours", row.ours), ("other", row.other)):
            found += [f"{row.name}, {name}: {note}" for note in _doubts(samples)]
    return found


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _doubts(samples: Sequence[Sample]) -> list[str]:
    found = [f"{n} x {text}" for sample in samples for text, n in sample.problems.items()]
    if any((sample.load_cores or 0.0) > 0.9 for sample in samples):
        found.append("the load generator was the bottleneck")
    return found


def _service(samples: Sequence[Sample]) -> list[str]:
    def latency(part: Callable[[Latency], float]) -> str:
        return number(statistics.median(part(s.latency) for s in samples if s.latency))

    def middle(values: Sequence[float | None]) -> str:
        known = [value for value in values if value is not None]
        return number(statistics.median(known)) if known else ""

    return [
        latency(lambda times: times.p50_ms),
        latency(lambda times: times.p95_ms),
        latency(lambda times: times.p99_ms),
        middle([sample.requests_per_second for sample in samples]),
        middle([sample.envoy_value for sample in samples]),
        middle([sample.load_cores for sample in samples]),
        str(sum(sample.bad_answers for sample in samples)),
    ]


def _spread(values: Spread | None) -> str:
    if values is None:
        return ""
    ends = f" ({number(values.low)} - {number(values.high)})" if values.low < values.high else ""
    return number(values.median) + ends
