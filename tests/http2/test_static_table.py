from __future__ import annotations

from hpack.table import HeaderTable

from epp.http2.static_table import STATIC_TABLE


def test_the_static_table_is_the_one_of_the_protocol() -> None:
    assert STATIC_TABLE == HeaderTable.STATIC_TABLE
    assert len(STATIC_TABLE) == 61
