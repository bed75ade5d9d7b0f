from __future__ import annotations

import pytest

from epp.core.parser import Parser
from epp.core.response import NoUsageReader


class Silent(Parser):
    """A parser that says nothing of its own."""

    type = "silent"


def test_a_parser_is_for_the_rest_of_the_paths_unless_it_says_otherwise() -> None:
    assert Silent.paths == ()


@pytest.mark.parametrize("is_streaming", [False, True])
def test_of_an_answer_nobody_knows_how_to_read_no_usage_is_told(is_streaming: bool) -> None:
    reader = Silent().usage_reader(is_streaming)
    assert isinstance(reader, NoUsageReader)
    reader.feed(b'{"usage":{"prompt_tokens":1}}')
    assert reader.result() is None


def test_reading_and_renaming_are_every_parser_s_own() -> None:
    with pytest.raises(NotImplementedError):
        Silent().parse({}, b"")
    with pytest.raises(NotImplementedError):
        Silent().rename_model(b"", "m")
