import msgspec
import pytest

from epp.simulator.errors import ApiError
from epp.simulator.requests import ChatRequest, CompletionRequest, TokenizeRequest, validate


def completion(body: str) -> CompletionRequest:
    return msgspec.json.decode(body, type=CompletionRequest)


def chat(body: str) -> ChatRequest:
    return msgspec.json.decode(body, type=ChatRequest)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [('"a b c"', 3), ('["a b c"]', 3), ("[5, 6]", 2), ("[[5, 6, 7]]", 3), ('""', 0)],
)
def test_a_prompt_is_one_text_or_one_list_of_token_ids(prompt: str, count: int) -> None:
    assert len(completion(f'{{"prompt": {prompt}}}').prompt_tokens()) == count


@pytest.mark.parametrize("prompt", ["[]", '["a", "b"]', "[[1], [2]]", '[1, "a"]'])
def test_several_prompts_are_refused(prompt: str) -> None:
    with pytest.raises(ApiError):
        completion(f'{{"prompt": {prompt}}}').prompt_tokens()


def test_a_conversation_counts_all_its_texts_and_no_images() -> None:
    request = chat(
        """{"messages": [
            {"role": "system", "content": "one two"},
            {"role": "user", "content": [
                {"type": "text", "text": "three"},
                {"type": "image_url", "image_url": {"url": "x"}},
                {"type": "text", "text": "four"}]},
            {"role": "assistant", "content": null}]}"""
    )
    assert [token.strip() for token in request.prompt_tokens()] == ["one", "two", "three", "four"]
    assert request.echoed_tokens() == ["three ", "four "]


def test_without_a_user_the_last_message_is_echoed() -> None:
    assert chat('{"messages":[{"content":"a"},{"content":"b"}]}').echoed_tokens() == ["b"]
    assert chat('{"messages":[]}').echoed_tokens() == []


def test_max_completion_tokens_win() -> None:
    assert chat('{"max_tokens": 3, "max_completion_tokens": 4}').limit == 4
    assert chat('{"max_tokens": 3}').limit == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('"max_tokens": 0', "should be positive"),
        ('"max_tokens": -1', "should be positive"),
        ('"stream": true, "kv_transfer_params": {"do_remote_decode": true}', "not support stream"),
        ('"ignore_eos": true', "Ignore_eos is true"),
        ('"cache_hit_threshold": 1.5', "between 0 and 1"),
        ('"logprobs": 21', "between 0 and 20"),
        ('"logprobs": -1', "between 0 and 20"),
        ('"max_tokens": 91', "However, you requested 101 tokens \\(10 in the messages, 91 in"),
    ],
)
def test_what_cannot_be_answered_is_refused(fields: str, message: str) -> None:
    with pytest.raises(ApiError, match=message) as refused:
        validate(completion(f"{{{fields}}}"), 10, 100)
    assert (refused.value.status, refused.value.kind) == (400, "BadRequestError")


@pytest.mark.parametrize("tokens", [100, 101, 5000])
def test_a_prompt_that_leaves_no_room_is_refused(tokens: int) -> None:
    with pytest.raises(ApiError, match="maximum context length is 100 tokens"):
        validate(completion("{}"), tokens, 100)


def test_a_prompt_that_just_fits_is_accepted() -> None:
    validate(completion("{}"), 99, 100)
    validate(completion('{"max_tokens": 90, "stream": null}'), 10, 100)


def test_tokenize_takes_a_prompt_or_messages() -> None:
    assert TokenizeRequest(prompt="a b").tokens() == ["a ", "b"]
    both = msgspec.json.decode(
        '{"messages":[{"content":"a"},{"content":"b"}]}', type=TokenizeRequest
    )
    assert both.tokens() == ["a ", "b"]
    with pytest.raises(ApiError):
        TokenizeRequest(prompt="a", messages=[]).tokens()
