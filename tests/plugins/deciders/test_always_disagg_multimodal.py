from __future__ import annotations

import pytest

from epp.core.data import TOKENIZED_PROMPT, MediaFeature, PromptTokens, TokenizedPrompt
from epp.core.request import ChatMessage, ContentBlock
from epp.plugins.deciders.always_disagg_multimodal import AlwaysDisaggMultimodalDecider
from tests.fakes import make_endpoint, make_request

A = make_endpoint("a")
TEXT = ContentBlock("text", "hello")


@pytest.mark.parametrize(
    ("block", "answer"),
    [
        (TEXT, False),
        (ContentBlock("image_url", image_url="https://example.com/a.png"), True),
        (ContentBlock("image_url"), True),
        (ContentBlock("video_url", media="https://example.com/a.mp4"), True),
        (ContentBlock("audio_url"), True),
        (ContentBlock("input_audio", media="UklGRg==wav"), True),
        (ContentBlock("image", media="iVBORw0="), True),
        (ContentBlock("refusal"), False),
    ],
)
def test_a_chat_with_media_is_encoded_elsewhere(block: ContentBlock, answer: bool) -> None:
    messages = [ChatMessage("system", "be brief"), ChatMessage("user", (TEXT, block))]
    request = make_request(messages=messages)
    assert AlwaysDisaggMultimodalDecider().decide(request, A) is answer
    assert AlwaysDisaggMultimodalDecider().decide(request, None) is answer


@pytest.mark.parametrize("prompt", ["hello", None])
def test_a_request_without_chat_has_no_media(prompt: str | None) -> None:
    assert not AlwaysDisaggMultimodalDecider().decide(make_request(prompt), A)


@pytest.mark.parametrize(
    ("features", "answer"), [((), False), ((MediaFeature("image", "h", 0, 4),), True)]
)
def test_media_among_tokens_count_too(features: tuple[MediaFeature, ...], answer: bool) -> None:
    request = make_request()
    tokens = TokenizedPrompt((PromptTokens(b""), PromptTokens(b"\0" * 16, features)))
    request.data.set(TOKENIZED_PROMPT.of(), tokens)
    assert AlwaysDisaggMultimodalDecider().decide(request, A) is answer
    assert AlwaysDisaggMultimodalDecider().may_consume == (TOKENIZED_PROMPT.of(),)
