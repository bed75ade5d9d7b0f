"""The last line of a test run tells how many tests were skipped, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def skip_line(reasons: Iterable[str]) -> str:
    """One line for the tests that were skipped for these reasons; empty when there are none."""
    counts = Counter(reasons)
    if not counts:
        return ""
    told = "; ".join(f"{count} because {reason}" for reason, count in counts.most_common())
    total = sum(counts.values())
    return f"{total} {'test was' if total == 1 else 'tests were'} skipped: {told}"
