"""``always-disagg-multimodal-decider``: images, videos and sounds are encoded elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epp.core.data import TOKENIZED_PROMPT, DataKey
from epp.core.endpoint import Endpoint
from epp.core.plugin import DisaggregationDecider, NoParams, Stability, plugin
from epp.core.request import ContentBlock, InferenceRequest

MEDIA_TYPES = frozenset({"image_url", "video_url", "audio_url", "input_audio"})


@plugin("always-disagg-multimodal-decider", params=NoParams, stability=Stability.BETA)
class AlwaysDisaggMultimodalDecider(DisaggregationDecider):
    """Say yes to a request with an image, a video or a sound in it.

    It is seen in the blocks of a chat, and in the tokens of a prompt where somebody made them.

    Source: llm-d-router v0.10, profilehandler/disagg.
    """

    @property
    def may_consume(self) -> Sequence[DataKey[Any]]:
        return (TOKENIZED_PROMPT.of(),)

    def decide(self, request: InferenceRequest, endpoint: Endpoint | None) -> bool:
        tokenized = request.data.get(TOKENIZED_PROMPT.of())
        if tokenized is not None and any(prompt.features for prompt in tokenized.prompts):
            return True
        messages = (request.body.messages if request.body is not None else None) or ()
        return any(
            _is_media(block)
            for message in messages
            if not isinstance(message.content, str)
            for block in message.content
        )


def _is_media(block: ContentBlock) -> bool:
    return block.type in MEDIA_TYPES or bool(block.image_url or block.media)
