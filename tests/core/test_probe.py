from __future__ import annotations

from inspect import signature

import pytest

from epp.core.probe import Probe, ScrapeInterval
from tests.fakes import FakeProbe

REPORTS = [name for name in vars(Probe) if not name.startswith("_")]


@pytest.mark.parametrize("report", REPORTS)
def test_the_fake_probe_takes_note_of_every_report(report: str) -> None:
    assert signature(getattr(FakeProbe, report)) == signature(getattr(Probe, report))
    assert report in vars(FakeProbe)


def test_the_scrape_interval_is_the_one_asked_for_until_it_is_measured() -> None:
    interval = ScrapeInterval(0.05)
    assert interval.seconds == 0.05
    interval.scraped(0.113)
    interval.scraped(0.08)
    assert interval.seconds == 0.08
