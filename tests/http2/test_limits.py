from __future__ import annotations

from epp.http2.limits import StrikeBudget


def spent(budget: StrikeBudget) -> int:
    """How many strikes it took."""
    count = 0
    while budget.spend():
        count += 1
    return count


def test_so_many_strikes_are_free() -> None:
    assert spent(StrikeBudget(10)) == 10


def test_a_tenth_comes_back_every_second() -> None:
    budget = StrikeBudget(100)
    budget.refill(1000.0)
    spent(budget)
    budget.refill(1001.0)
    assert spent(budget) in (9, 10)
    budget.refill(5000.0)
    assert spent(budget) in (99, 100)


def test_useful_frames_earn_but_never_more_than_the_limit() -> None:
    budget = StrikeBudget(5)
    for _ in range(20):
        budget.earn()
    assert spent(budget) == 5
    for _ in range(3):
        budget.earn()
    assert spent(budget) == 2
