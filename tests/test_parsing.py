from __future__ import annotations

from typing import Any

import pytest

from epp.core.errors import BadRequestError
from epp.core.plugin import Parser
from epp.core.request import Headers
from epp.formats.bodyalone import BodyAloneParser
from epp.parsing import ParserChoice
from epp.plugins.parsers.anthropic import AnthropicParser
from epp.plugins.parsers.openai import OpenAIParser
from epp.plugins.parsers.passthrough import PassthroughParser
from epp.plugins.parsers.sglanghttp import SglanghttpParser
from epp.plugins.parsers.vllmhttp import VllmhttpParser

DEFAULT: tuple[type[Parser], ...] = (
    OpenAIParser,
    AnthropicParser,
    VllmhttpParser,
    PassthroughParser,
)
GENERATE: tuple[type[Parser], ...] = (SglanghttpParser, VllmhttpParser)


def chosen(types: tuple[type[Parser], ...], headers: Headers) -> type[Parser]:
    return type(ParserChoice([made() for made in types]).choose(headers))


@pytest.mark.parametrize(
    ("types", "path", "expected"),
    [
        (DEFAULT, b"/v1/completions", OpenAIParser),
        (DEFAULT, b"/v1/chat/completions", OpenAIParser),
        (DEFAULT, b"/v1/chat/completions/", OpenAIParser),
        (DEFAULT, b"/v1/chat/completions?a=/v1/messages", OpenAIParser),
        (DEFAULT, b"/other/v1/completions/render", OpenAIParser),
        (DEFAULT, b"/v1/embeddings", OpenAIParser),
        (DEFAULT, b"/v1/responses", OpenAIParser),
        (DEFAULT, b"/v1/conversations", OpenAIParser),
        (DEFAULT, b"/v1/images/generations", OpenAIParser),
        (DEFAULT, b"/v1/xcompletions", OpenAIParser),
        (DEFAULT, b"/v1/messages", AnthropicParser),
        (DEFAULT, b"/v1/messages/count_tokens", AnthropicParser),
        (DEFAULT, b"/inference/v1/generate", VllmhttpParser),
        (DEFAULT, b"/v1/audio/speech", PassthroughParser),
        (DEFAULT, b"/v1/chat/completions//", PassthroughParser),
        (DEFAULT, b"/\xff", PassthroughParser),
        (GENERATE, b"/inference/v1/generate", VllmhttpParser),
        (GENERATE, b"/generate", SglanghttpParser),
        ((PassthroughParser, OpenAIParser), b"/v1/completions", PassthroughParser),
        ((BodyAloneParser,), b"/anything", BodyAloneParser),
    ],
)
def test_the_longest_end_of_the_path_chooses(
    types: tuple[type[Parser], ...], path: bytes, expected: type[Parser]
) -> None:
    assert chosen(types, {":path": path}) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, OpenAIParser),
        ({":path": b""}, OpenAIParser),
        ({"x-original-path": b"/v1/messages"}, AnthropicParser),
        ({"x-forwarded-path": b"/v1/messages"}, AnthropicParser),
        ({":path": b"/v1/embeddings", "x-original-path": b"/v1/messages"}, OpenAIParser),
    ],
)
def test_a_path_is_what_the_proxy_tells_else_what_it_was_before(
    headers: Any, expected: type[Parser]
) -> None:
    assert chosen(DEFAULT, headers) is expected


def test_a_path_that_nobody_is_for_is_the_clients_fault() -> None:
    choice = ParserChoice([OpenAIParser(), AnthropicParser()])
    with pytest.raises(BadRequestError) as raised:
        choice.choose({":path": b"/v1/audio/speech?x=y"})
    assert raised.value.message == (
        "no parser registered matching path suffix for: /v1/audio/speech"
    )


def test_of_one_type_the_first_counts_and_the_fallback_ends_the_list() -> None:
    first, second, rest, late = (
        OpenAIParser(),
        OpenAIParser(),
        PassthroughParser(),
        AnthropicParser(),
    )
    choice = ParserChoice([first, second, rest, late])
    assert choice.parsers == (first, rest)
    assert choice.choose({":path": b"/v1/completions"}) is first
    assert choice.choose({":path": b"/v1/messages"}) is rest
