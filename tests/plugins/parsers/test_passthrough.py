from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from epp.core.request import RequestBody
from epp.plugins.parsers.passthrough import PassthroughParser


@given(st.binary())
def test_nothing_is_read_and_nothing_is_changed(body: bytes) -> None:
    assert PassthroughParser().parse({}, body) == RequestBody(None, takes_model=False)
    assert PassthroughParser().rename_model(body, "t") is body


def test_it_is_for_the_paths_that_nobody_is_for() -> None:
    assert PassthroughParser.paths == ()


def test_the_answer_is_not_read_either() -> None:
    reader = PassthroughParser().usage_reader(is_streaming=False)
    reader.feed(b'{"usage":{"total_tokens":7}}')
    assert reader.result() is None
