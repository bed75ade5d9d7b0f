import msgspec
import pytest

from epp.simulator.logprobs import chat_logprobs, text_logprobs


def test_completions_get_columns() -> None:
    logprobs = text_logprobs(["ab ", "c"], 2, position=3, offset=7)
    assert logprobs.tokens == ["ab ", "c"]
    assert logprobs.token_logprobs == pytest.approx([-1.0, -1.1])
    assert logprobs.top_logprobs[0] == pytest.approx({"ab ": -1.0, "ab _1": -1.5})
    assert logprobs.text_offset == [7, 10]


def test_chats_get_rows() -> None:
    rows = msgspec.to_builtins(chat_logprobs(["a"], 1))
    top = {"token": "a", "logprob": -1.0, "bytes": [97]}
    assert rows == {"content": [{**top, "top_logprobs": [top]}]}
