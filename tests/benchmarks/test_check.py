from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from benchmarks import check
from benchmarks.check import Kept, KeptRatios, Verdict
from benchmarks.inside import Work, works
from tests.benchmarks.reports import MACHINE


@pytest.fixture(autouse=True)
def _small_heap() -> Iterator[None]:
    """The check collects garbage before every round; what other tests left is none of its own."""
    gc.freeze()
    yield
    gc.unfreeze()


class FakeCpu:
    """CPU time that passes only where work says so, faster or slower as the machine does."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slowness = 1.0
        self.calls = 0

    def __call__(self) -> float:
        return self.seconds

    def work(self, milliseconds: float) -> Callable[[], None]:
        def run() -> None:
            self.calls += 1
            self.seconds += milliseconds / 1000 * self.slowness

        return run

    def piece(self, milliseconds: float, *, name: str = "piece") -> Work:
        return Work(name, self.work(milliseconds), self.work(0.5))


def test_a_cost_is_counted_in_calls_of_its_calibration() -> None:
    cpu = FakeCpu()
    assert check.measure(cpu.piece(2.0), cpu=cpu) == pytest.approx(4.0)


def test_a_slower_machine_measures_the_same() -> None:
    cpu = FakeCpu()
    cpu.slowness = 7.0
    assert check.measure(cpu.piece(2.0), cpu=cpu) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("milliseconds", "good"), [(1.0, True), (2.0, True), (2.3, True), (2.5, False), (20.0, False)]
)
def test_only_what_became_a_fifth_dearer_fails(milliseconds: float, good: bool) -> None:
    cpu = FakeCpu()
    [verdict] = check.check([cpu.piece(milliseconds)], {"piece": 4.0}, cpu=cpu)
    assert verdict.is_good is good
    assert ("dearer" in str(verdict)) is not good


def test_a_piece_that_was_disturbed_once_is_measured_again() -> None:
    cpu = FakeCpu()
    costs = iter([10.0] * 40)

    def disturbed() -> None:
        cpu.seconds += next(costs, 2.0) / 1000

    [verdict] = check.check([Work("piece", disturbed, cpu.work(0.5))], {"piece": 4.0}, cpu=cpu)
    assert verdict.is_good


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict("new", None, 1.0), "nothing kept"),
        (Verdict("gone", 1.0, None), "no longer measured"),
    ],
)
def test_what_cannot_be_compared_fails(verdict: Verdict, text: str) -> None:
    assert not verdict.is_good
    assert text in str(verdict)


def test_new_and_lost_pieces_are_both_told() -> None:
    cpu = FakeCpu()
    found = check.check([cpu.piece(1.0, name="new")], {"gone": 1.0}, cpu=cpu)
    assert [(verdict.name, verdict.kept, verdict.now) for verdict in found] == [
        ("new", None, pytest.approx(2.0)),
        ("gone", 1.0, None),
    ]


def test_another_python_than_the_kept_ones_fails_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept.json"
    file.write_bytes(msgspec.json.encode({"2.7": KeptRatios(MACHINE, {"piece": 1.0})}))
    assert check.main(["--file", str(file)]) == 1
    assert re.search(r"kept for 2\.7, not for Python 3\.\d+: .*--keep", capsys.readouterr().out)


def test_figures_are_kept_for_every_piece() -> None:
    kept = msgspec.json.decode(check.KEPT.read_bytes(), type=Kept)
    names = {work.name for work in works()}
    assert all(set(figures.ratios) == names for figures in kept.values())


def test_every_piece_runs_again_and_again() -> None:
    for work in works():
        for _ in range(3):
            work.run()
        work.calibration()
