from __future__ import annotations

import pytest

from epp.core.request import header_text
from tests.fakes import make_request


@pytest.mark.parametrize(
    ("value", "text"), [(b"abc", "abc"), (b"", ""), (b"a\xff", "a\ufffd"), ("ü".encode(), "ü")]
)
def test_a_header_is_read_as_text_whatever_its_bytes(value: bytes, text: str) -> None:
    assert header_text({"name": value}, "name") == text


def test_an_absent_header_is_empty() -> None:
    assert header_text({}, "name") == ""


@pytest.mark.parametrize(("priority", "is_sheddable"), [(-1, True), (0, False), (1, False)])
def test_only_negative_priorities_may_be_shed(priority: int, is_sheddable: bool) -> None:
    assert make_request(priority=priority).is_sheddable is is_sheddable


def test_every_request_has_its_own_data() -> None:
    assert make_request().data is not make_request().data
