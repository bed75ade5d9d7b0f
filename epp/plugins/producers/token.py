"""``token-producer``: a request's prompt as tokens, estimated without a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from epp.core.data import TOKENIZED_PROMPT, DataKey, TokenizedPrompt
from epp.core.endpoint import Endpoint
from epp.core.errors import ParameterError
from epp.core.plugin import DataProducer, Handle, Params, Stability, plugin
from epp.core.request import InferenceRequest
from epp.tokens.canonical import read_prompts
from epp.tokens.estimate import Estimate


class TokenParams(Params, frozen=True):
    """The backend, one of three, of which this version has one."""

    estimate: Annotated[
        Estimate | None, Meta(description="Rules for the sizes of images and videos.")
    ] = None
    vllm: Annotated[dict[str, Any] | None, Meta(description="The server that renders prompts.")] = (
        None
    )
    uds_tokenizer_config: Annotated[
        dict[str, Any] | None, Meta(description="A tokenizer behind a socket.")
    ] = None
    model_name: Annotated[str, Meta(description="Whose tokenizer; means vllm.")] = ""


@plugin("token-producer", params=TokenParams, stability=Stability.BETA, aliases=("tokenizer",))
class TokenProducer(DataProducer):
    """Take four bytes of a prompt's text as one token.

    That is enough to find equal prefixes and to guess how long a prompt is, not to know what a
    model server has cached: its tokens are others.

    Source: llm-d-router v0.10, requestcontrol/dataproducer/tokenizer.
    """

    def __init__(self, params: TokenParams, handle: Handle) -> None:
        for key, value in (
            ("vllm", params.vllm),
            ("udsTokenizerConfig", params.uds_tokenizer_config),
            ("modelName", params.model_name or None),
        ):
            if value is not None:
                raise ParameterError(key, "this version has the `estimate` backend only")
        self._estimate = params.estimate or Estimate()

    @property
    def produces(self) -> Sequence[DataKey[TokenizedPrompt]]:
        return [TOKENIZED_PROMPT.of(self.name)]

    def produce(self, request: InferenceRequest, endpoints: Sequence[Endpoint]) -> None:
        body = request.body
        if body is None:
            return
        estimate, headers = self._estimate, request.headers
        prompts = read_prompts(body, lambda kind, content: estimate.tokens(kind, content, headers))
        if any(prompt.tokens for prompt in prompts):
            made = TokenizedPrompt(prompts, body.cache_salt)
            request.data.set(TOKENIZED_PROMPT.of(self.name), made)
