from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from epp.http2.window import ReceiveWindow


def test_more_than_the_window_is_told() -> None:
    window = ReceiveWindow(100)
    assert window.take(100)
    assert not window.take(1)


def test_half_a_window_is_worth_telling() -> None:
    window = ReceiveWindow(100)
    window.take(50)
    assert not window.is_due
    window.take(1)
    assert window.is_due
    assert window.refill() == 51
    assert not window.is_due


@given(st.lists(st.integers(0, 50), max_size=50))
def test_who_keeps_to_what_it_is_told_is_never_refused(sizes: list[int]) -> None:
    window, allowed = ReceiveWindow(100), 100
    for size in sizes:
        size = min(size, allowed)
        allowed -= size
        assert window.take(size)
        if window.is_due:
            allowed += window.refill()
        assert allowed > 0
