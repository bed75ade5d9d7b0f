from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.request import ChatMessage, ContentBlock, RequestBody
from epp.prefixcache.text import prefix_bytes

ALL = 1 << 20


def chat(*messages: ChatMessage, limit: int = ALL) -> bytes:
    return prefix_bytes(RequestBody(model="m", messages=messages), limit)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            [
                ChatMessage("user", "a<b & c>d"),
                ChatMessage("assistant", (ContentBlock("text", "hi"),)),
            ],
            r'[{"role":"user","content":"a\u003cb \u0026 c\u003ed"},'
            r'{"role":"assistant","content":[{"type":"text","text":"hi","image_url":{}}]}]',
        ),
        ([ChatMessage("user", "")], '[{"role":"user","content":""}]'),
        ([ChatMessage("user", ())], '[{"role":"user","content":""}]'),
        ([ChatMessage("", "x")], '[{"content":"x"}]'),
        (
            [ChatMessage("u", (ContentBlock("image_url", "", "http://x/?a=1&b=2"),))],
            r'[{"role":"u","content":[{"type":"image_url",'
            r'"image_url":{"url":"http://x/?a=1\u0026b=2"}}]}]',
        ),
        (
            [ChatMessage("u", '"\\/\b\f\n\r\t\x00\x1f\x7fü\u2028\u2029😀')],
            r'[{"role":"u","content":"\"\\/\b\f\n\r\t\u0000\u001f'
            + "\x7fü"
            + r"\u2028\u2029"
            + '😀"}]',
        ),
        ([ChatMessage("u", "\ud800x")], '[{"role":"u","content":"\ufffdx"}]'),
    ],
)
def test_a_chat_is_the_json_that_go_writes(messages: list[ChatMessage], expected: str) -> None:
    assert chat(*messages) == expected.encode()


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a<b", b"a<b"), ("ü", "ü".encode()), ("\ud800", b"?"), ("", b"")],
)
def test_a_prompt_is_its_utf8(prompt: str, expected: bytes) -> None:
    assert prefix_bytes(RequestBody(model="m", prompt=prompt), ALL) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (RequestBody(model="m", prompts=("ab", "c")), b"abc"),
        (RequestBody(model="m", prompts=(b"\1\0\0\0", "c")), b"\1\0\0\0c"),
        (RequestBody(model="m", text=b'{"input":"x"}'), b'{"input":"x"}'),
        (RequestBody(model="m"), b""),
    ],
)
def test_other_kinds_of_requests_have_a_beginning_too(body: RequestBody, expected: bytes) -> None:
    assert prefix_bytes(body, ALL) == expected
    assert prefix_bytes(body, 2) == expected[:2]


BLOCKS = st.builds(
    ContentBlock,
    type=st.sampled_from(["text", "image_url", ""]),
    text=st.text(max_size=20),
    image_url=st.text(max_size=10),
)
MESSAGES = st.lists(
    st.builds(
        ChatMessage,
        role=st.sampled_from(["user", "assistant", ""]),
        content=st.text() | st.lists(BLOCKS, max_size=3).map(tuple),
    ),
    max_size=4,
)


def plain_chat(messages: list[ChatMessage]) -> bytes:
    """The same text in the plainest way: Python's JSON, and then Go's escapes."""
    text = json.dumps(
        [plain_message(m) for m in messages], ensure_ascii=False, separators=(",", ":")
    )
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def plain_message(message: ChatMessage) -> dict[str, Any]:
    role = {"role": message.role} if message.role else {}
    if isinstance(message.content, str):
        return role | {"content": message.content}
    return role | {"content": [plain_block(block) for block in message.content] or ""}


def plain_block(block: ContentBlock) -> dict[str, Any]:
    text = {"text": block.text} if block.text else {}
    url = {"url": block.image_url} if block.image_url else {}
    return {"type": block.type, **text, "image_url": url}


@given(MESSAGES)
def test_the_fast_way_writes_what_the_plain_one_writes(messages: list[ChatMessage]) -> None:
    assert chat(*messages) == plain_chat(messages)


@given(MESSAGES, st.integers(1, 200))
def test_a_limit_changes_nothing_before_it(messages: list[ChatMessage], limit: int) -> None:
    assert chat(*messages, limit=limit)[:limit] == chat(*messages)[:limit]


@given(st.text(), st.integers(1, 40))
def test_a_limit_keeps_the_start_of_a_prompt(prompt: str, limit: int) -> None:
    body = RequestBody(model="m", prompt=prompt)
    assert prefix_bytes(body, limit)[:limit] == prompt.encode()[:limit]
