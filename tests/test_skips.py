from __future__ import annotations

from tests.skips import skip_line


def test_nothing_skipped_is_nothing_said() -> None:
    assert skip_line([]) == ""


def test_reasons_are_counted_and_the_most_frequent_comes_first() -> None:
    assert skip_line(["a"]) == "1 test was skipped because a"
    assert skip_line(["a", "a"]) == "2 tests were skipped because a"
    assert skip_line(["a", "b", "b"]) == "3 tests were skipped: 2 because b; 1 because a"
