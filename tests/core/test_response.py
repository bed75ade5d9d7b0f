from __future__ import annotations

import pytest

from epp.core.response import (
    Metadata,
    NoUsageReader,
    ResponseEnd,
    ResponseStart,
    Termination,
)


def test_the_causes_are_spelled_as_plugins_tell_them() -> None:
    assert list(Termination) == ["natural", "client-disconnect", "evicted", "error"]


def test_an_answer_ends_well_unless_somebody_says_otherwise() -> None:
    assert ResponseEnd() == ResponseEnd(Termination.NATURAL, None, 0)


def test_a_proxy_need_not_tell_whom_it_used() -> None:
    start = ResponseStart({":status": b"200"})
    assert (start.served, start.has_lb_metadata) == ("", False)


@pytest.mark.parametrize("chunk", [b"", b'{"usage":{"total_tokens":7}}', bytearray(b"\xff")])
def test_who_cannot_read_an_answer_reads_nothing_in_it(chunk: bytes | bytearray) -> None:
    reader = NoUsageReader()
    reader.feed(chunk)
    assert reader.result() is None


def test_metadata_is_a_namespace_a_name_and_a_number() -> None:
    assert tuple(Metadata("space", "name", 1.5)) == ("space", "name", 1.5)
