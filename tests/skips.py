"""The last line of a test run tells how many tests were skipped, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def skip_line(reasons: Iterable[str]) -> str:
    """One line for the tests that were skipped for these reasons; empty when there are none."""
    counts = Counter(reasons)
    if not counts:
        return ""
    total = sum(counts.values())
    start = "1 test was skipped" if total == 1 else f"{total} tests were skipped"
    if len(counts) == 1:
        return f"{start} because {next(iter(counts))}"
    told = "; ".join(f"{count} because {reason}" for reason, count in counts.most_common())
    return f"{start}: {told}"
