from __future__ import annotations

from benchmarks.page import MetricsPage


def test_every_page_differs_and_keeps_its_shape() -> None:
    page = MetricsPage(seed=1)
    pages = [page.read().decode() for _ in range(20)]
    assert len(set(pages)) == len(pages)
    assert all(14_000 < len(text) < 17_000 for text in pages)
    names = [[line.rpartition(" ")[0] for line in text.splitlines()] for text in pages]
    assert all(name == names[0] for name in names)
