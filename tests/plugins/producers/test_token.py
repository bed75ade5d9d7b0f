from __future__ import annotations

from typing import Any

import pytest

from epp.core.data import TOKENIZED_PROMPT, TokenizedPrompt
from epp.core.errors import ParameterError
from epp.core.plugin import REGISTRY
from epp.core.request import ChatMessage, ContentBlock, InferenceRequest
from epp.plugins.producers.token import TokenParams, TokenProducer
from epp.tokens.estimate import Estimate, ImageRule, StaticImage
from tests.fakes import endpoints, make_handle, make_request


def produced(request: InferenceRequest, **params: Any) -> TokenizedPrompt | None:
    producer = TokenProducer(TokenParams(**params), make_handle())
    producer.produce(request, endpoints(0))
    return request.data.get(TOKENIZED_PROMPT.of())


def test_four_bytes_of_a_prompt_are_a_token() -> None:
    made = produced(make_request("Hello, world!", cache_salt="s"))
    assert made is not None
    (prompt,) = made.prompts
    numbers = [int.from_bytes(prompt.tokens[i : i + 4], "little") for i in range(0, 16, 4)]
    assert numbers == [1819043144, 1998597231, 1684828783, 33]
    assert (made.token_count, made.cache_salt) == (4, "s")


def test_the_configuration_says_how_large_images_are() -> None:
    image = ChatMessage("user", (ContentBlock("image_url", image_url="http://x/y"),))
    rules = Estimate(image=ImageRule(mode="static", static=StaticImage(7)))
    made = produced(make_request(messages=[image]), estimate=rules)
    assert made is not None
    assert made.token_count == 1 + 7


def test_the_request_s_headers_say_how_large_videos_are() -> None:
    video = ChatMessage("user", (ContentBlock("video_url", media="http://x/y"),))
    headers = {
        "x-llm-d-video-duration-seconds": b"1.5",
        "x-llm-d-video-resolution": b"64x64",
    }
    made = produced(make_request(messages=[video], headers=headers))
    assert made is not None
    assert made.prompts[0].features[0].length == 3 * 4


@pytest.mark.parametrize("request_", [make_request(None), make_request("")])
def test_nothing_to_be_read_is_no_prompt(request_: InferenceRequest) -> None:
    assert produced(request_) is None


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"vllm": {"url": "http://localhost:8000"}}, "vllm"),
        ({"vllm": {}}, "vllm"),
        ({"uds_tokenizer_config": {"socketFile": "x"}}, "udsTokenizerConfig"),
        ({"model_name": "m"}, "modelName"),
    ],
)
def test_other_backends_are_refused(params: dict[str, Any], key: str) -> None:
    with pytest.raises(ParameterError, match="`estimate` backend only") as caught:
        TokenProducer(TokenParams(**params), make_handle())
    assert caught.value.key == key


def test_it_has_an_older_name() -> None:
    assert REGISTRY["token-producer"].aliases == ("tokenizer",)
