from __future__ import annotations

from inspect import signature

import pytest

from epp.core.probe import Probe
from tests.fakes import FakeProbe

REPORTS = [name for name in vars(Probe) if not name.startswith("_")]


@pytest.mark.parametrize("report", REPORTS)
def test_the_fake_probe_takes_note_of_every_report(report: str) -> None:
    assert signature(getattr(FakeProbe, report)) == signature(getattr(Probe, report))
    assert report in vars(FakeProbe)
