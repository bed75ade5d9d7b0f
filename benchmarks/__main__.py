"""``python -m benchmarks``: what the picker costs, beside another picker or kept figures."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import contenders, keep, plots, sweeps, table
from benchmarks.bed import bed
from benchmarks.bench import Bench, Effort
from benchmarks.cases import SCRAPED_ENDPOINTS
from benchmarks.contenders import PLACEHOLDERS, Contender, ContenderError
from benchmarks.figures import Report, Sample
from benchmarks.measure import Machine
from lab.process import ProcessError


def main() -> int:
    """Command line; the exit code is 1 when an answer was wrong or a process failed."""
    options = _parser().parse_args()
    directory = Path(tempfile.mkdtemp(prefix="epp-benchmarks-"))
    try:
        pickers = [contenders.ours(options.flags)]
        if options.compare:
            other = contenders.parse("other", options.compare, kubeconfig=options.kubeconfig)
            pickers.append(other)
        is_good = (_plot if options.plots else _bench)(options, pickers, directory)
    except ContenderError as error:
        print(f"--compare: {error}", file=sys.stderr)
        return 2
    except (ProcessError, OSError) as error:
        print(f"{error}\nThe logs are in {directory}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        is_good = False
    if not is_good:
        print(f"The logs are in {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {{{name}}}: {meaning}" for name, meaning in PLACEHOLDERS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"placeholders of COMMAND:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one round of half the time: a minute for each picker")
    add("--rounds", type=int, metavar="N", help="how often each case is measured; 3, or 1 if quick")
    add("--compare", metavar="COMMAND", help="another picker's command line, measured in turn")
    add("--config", type=Path, default=contenders.CONFIG_FILE, metavar="FILE",
        help="EndpointPickerConfig of all pickers")  # fmt: skip
    add("--kubeconfig", type=Path, metavar="FILE", help="what {kubeconfig} stands for")
    add("--one-port", action="store_true",
        help="model servers differ by address, not by port, as pods do (Linux only)")  # fmt: skip
    add("--flag", action="append", default=[], dest="flags", metavar="FLAG",
        help="for our picker, e.g. --flag=--refresh-metrics-interval=1s")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    add("--keep", action="store_true", help="write them to benchmarks/kept.json and the README")
    add("--plots", type=Path, metavar="DIR", help="draw curves into DIR instead")
    return parser


def _bench(options: argparse.Namespace, pickers: list[Contender], directory: Path) -> bool:
    """Measure, show, write; whether every answer was right."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)

    def tell(row: str, picker: str, sample: Sample) -> None:
        console.print(f"  {row}, {picker}: {table.number(sample.value)}")

    machine = Machine.here()
    effort = Effort.of(quick=options.quick, rounds=options.rounds)
    with bed(
        directory,
        endpoints=SCRAPED_ENDPOINTS,
        one_port=options.one_port,
        config=options.config,
    ) as shared:
        rows = Bench(shared, pickers, effort, tell).run()
    report = Report(
        machine, options.quick, effort.rounds, rows, options.flags, options.compare or ""
    )
    if options.json is not None:
        options.json.write_bytes(keep.encode(report))
    if options.keep:
        keep.keep(report)
    for part in (table.costs(report), table.service(report)):
        part.print(console)
        console.print()
    for note in table.notes(report):
        console.print(f"[red]{note}[/red]")
    console.print(table.caption(report), soft_wrap=True, markup=False)
    wrong = dict(zip(("ours", "the other"), report.bad_answers, strict=True))
    for name, count in wrong.items():
        if count:
            print(f"{count} answers behind {name} were wrong", file=sys.stderr)
    return not any(wrong.values())


def _plot(options: argparse.Namespace, pickers: list[Contender], directory: Path) -> bool:
    """Measure the curves and draw them."""
    plots.check_available()

    def tell(line: str) -> None:
        print(f"  {line}", flush=True)

    found = sweeps.measure(
        directory,
        pickers,
        quick=options.quick,
        one_port=options.one_port,
        config=options.config,
        tell=tell,
    )
    for path in plots.draw(found, options.plots):
        print(path)
    (options.plots / "curves.json").write_bytes(keep.encode(found))
    return True


if __name__ == "__main__":
    sys.exit(main())
