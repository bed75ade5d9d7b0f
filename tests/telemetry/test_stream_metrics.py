from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from epp.rpc import Status
from epp.telemetry.stream_metrics import StreamMetrics
from tests.telemetry.worlds import series

PREFIX = "llm_d_epp_extproc"


def test_streams_are_counted_while_they_run_and_when_they_end() -> None:
    registry = CollectorRegistry()
    streams = StreamMetrics(registry)
    for _ in range(3):
        streams.opened()
    streams.ended(Status.OK, 2.0)
    page = series(registry)
    assert page[f"{PREFIX}_streams_inflight"] == 2
    assert page[f'{PREFIX}_streams_total{{code="OK"}}'] == 1
    assert page[f"{PREFIX}_stream_duration_seconds_sum"] == 2
    assert page[f"{PREFIX}_stream_duration_seconds_count"] == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.OK, "OK"),
        (Status.CANCELLED, "Canceled"),
        (Status.DEADLINE_EXCEEDED, "DeadlineExceeded"),
        (Status.INVALID_ARGUMENT, "InvalidArgument"),
        (Status.UNAVAILABLE, "Unavailable"),
        (99, "Code(99)"),
    ],
)
def test_a_status_has_the_name_that_go_gives_it(status: int, code: str) -> None:
    registry = CollectorRegistry()
    StreamMetrics(registry).ended(status, 1.0)
    assert series(registry, f"{PREFIX}_streams_total") == {
        f'{PREFIX}_streams_total{{code="{code}"}}': 1
    }
