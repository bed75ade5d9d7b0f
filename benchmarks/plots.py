"""Draws the curves of ``benchmarks.sweeps`` as PNG files; only this needs matplotlib."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.sweeps import SATURATED_SHARE, Point, Sweep, Sweeps

_COLORS = {"epp": "#1f5fa8", "other": "#c8501e"}
_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 8.0, 5.0, 150

# Matplotlib is untyped here on purpose: it is not installed where only the picker is.
_Axes = Any


class Line(msgspec.Struct, frozen=True):
    """One line of a plot, ready to be drawn."""

    label: str
    picker: str
    xs: list[float]
    ys: list[float]
    style: str = "-"


def check_available() -> None:
    """Say early that matplotlib is missing.

    Raises:
        OSError: it is.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise OSError("plots need matplotlib: `make bench-plots` installs it")


def lines(
    sweep: Sweep, value: Callable[[Point], float | None], *, label: str = "", style: str = "-"
) -> list[Line]:
    """A line for each picker; points without a value are left out."""
    found = []
    for picker, points in sweep.curves.items():
        known = [(point.x, y) for point in points if (y := value(point)) is not None]
        if known:
            xs, ys = zip(*known, strict=True)
            found.append(Line(f"{picker}{label}", picker, list(xs), list(ys), style))
    return found


def draw(sweeps: Sweeps, directory: Path) -> list[Path]:
    """Write all plots into the directory; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    machine = sweeps.machine
    caption = (
        f"{machine.cpu_model}, {machine.cores} cores, Python {machine.python}, "
        f"commit {machine.git_commit}, {machine.date[:10]}; behind a real Envoy"
    )
    plots = (_prompts, _streams, _pods, _rates)
    return [plot(sweeps, directory, caption) for plot in plots]


def _prompts(sweeps: Sweeps, directory: Path, caption: str) -> Path:
    figure, [axes] = _figure(
        "The picker's CPU per request over the length of the prompt, 10 endpoints", 1
    )
    # In kB, which the ticks then need not say.
    _plot(axes, lines(sweeps.prompts, lambda point: point.sample.value), x_scale=1e-3)
    _logarithmic(axes, sweeps.prompts, x_scale=1e-3)
    axes.set(xlabel="prompt in kB (new each time)", ylabel="CPU per request in ms")
    _logarithmic_y(axes)
    return _save(figure, directory / "cpu-over-prompt.png", caption)


def _streams(sweeps: Sweeps, directory: Path, caption: str) -> Path:
    figure, [axes] = _figure(
        "The picker's CPU per streamed chunk over concurrent streams, 10 endpoints", 1
    )
    _plot(axes, lines(sweeps.streams, lambda point: point.sample.value))
    _logarithmic(axes, sweeps.streams)
    axes.set(xlabel="streams at a time", ylabel="CPU per chunk in us")
    axes.set_ylim(bottom=0)
    return _save(figure, directory / "cpu-over-streams.png", caption)


def _pods(sweeps: Sweeps, directory: Path, caption: str) -> Path:
    figure, (cores, reads) = _figure("An idle picker that reads every pod's metrics", 2)
    _plot(cores, lines(sweeps.pods, lambda point: point.sample.value))
    cores.set(ylabel="cores")
    _logarithmic_y(cores)
    _plot(reads, lines(sweeps.pods, lambda point: _percent(point.achieved)))
    reads.set(xlabel="pods", ylabel="pages read,\n% of 20/s a pod", ylim=(0, 110))
    _logarithmic(reads, sweeps.pods)
    return _save(figure, directory / "idle-over-pods.png", caption)


def _rates(sweeps: Sweeps, directory: Path, caption: str) -> Path:
    figure, (latency, achieved) = _figure(
        "Latency over the rate of small requests, 10 endpoints", 2
    )
    for label, style, value in (
        (" p50", "-", lambda point: point.sample.latency and point.sample.latency.p50_ms),
        (" p95", "--", lambda point: point.sample.latency and point.sample.latency.p95_ms),
        (" p99", ":", lambda point: point.sample.latency and point.sample.latency.p99_ms),
    ):
        _plot(latency, lines(sweeps.rates, value, label=label, style=style))
    latency.set(ylabel="ms at the client")
    _logarithmic_y(latency)
    _plot(achieved, lines(sweeps.rates, lambda point: _percent(point.achieved)))
    achieved.axhline(100 * SATURATED_SHARE, color="gray", linewidth=0.8, linestyle=":")
    achieved.set(
        xlabel="requests per second asked for",
        ylabel="answered,\n% of the rate",
        ylim=(0, 110),
    )
    _logarithmic(achieved, sweeps.rates)
    return _save(figure, directory / "latency-over-rate.png", caption)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _figure(title: str, panels: int) -> tuple[Any, Sequence[_Axes]]:
    from matplotlib.figure import Figure

    figure = Figure((_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, layout="constrained")
    ratios = [2, 1][:panels] if panels > 1 else [1]
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    figure.suptitle(title)
    return figure, list(axes)


def _plot(axes: _Axes, found: Sequence[Line], *, x_scale: float = 1.0) -> None:
    for line in found:
        xs = [x * x_scale for x in line.xs]
        style = {"color": _COLORS.get(line.picker, "black"), "marker": "o", "markersize": 4}
        axes.plot(xs, line.ys, line.style, label=line.label, clip_on=False, **style)
    axes.grid(visible=True, which="major", alpha=0.3)
    if axes.get_subplotspec().is_first_row():
        axes.legend(frameon=False)


def _logarithmic(axes: _Axes, sweep: Sweep, *, x_scale: float = 1.0) -> None:
    """A logarithmic x axis whose ticks are the points that were measured."""
    xs = sorted({point.x * x_scale for points in sweep.curves.values() for point in points})
    axes.set_xscale("log")
    axes.set_xticks(xs, labels=[f"{x:,g}" for x in xs])
    axes.minorticks_off()


def _logarithmic_y(axes: _Axes) -> None:
    """A logarithmic y axis from tick to tick, with 1 and 0.5 instead of powers of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    values = [y for line in axes.get_lines() for y in line.get_ydata() if y > 0]
    ticks = log_ticks(min(values), max(values))
    axes.set_yscale("log")
    axes.set_ylim(ticks[0], ticks[-1])
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from below ``low`` to above ``high`` (both positive)."""
    exponent = math.floor(math.log10(low))
    steps = (
        mantissa * 10.0**power for power in itertools.count(exponent) for mantissa in (1, 2, 5)
    )
    ticks = [next(steps)]
    while ticks[-1] <= high:
        ticks.append(next(steps))
    return [tick for tick, after in itertools.pairwise(ticks) if after > low] + ticks[-1:]


def _save(figure: Any, path: Path, caption: str) -> Path:
    figure.supxlabel(caption, fontsize=7, color="dimgray")
    figure.savefig(path)
    return path
