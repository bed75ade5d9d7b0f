from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh64_hexdigest, xxh64_intdigest

from epp.core.data import MediaFeature
from epp.core.request import ChatMessage, ContentBlock, RequestBody
from epp.tokens.canonical import MAX_MEDIA_TOKENS, MAX_SIZED_MEDIA, read_prompts


def three(_kind: str, _content: str) -> int:
    return 3


def chat(*messages: ChatMessage, tools: bytes = b"") -> RequestBody:
    return RequestBody(model="m", messages=messages, tools=tools)


def text(value: str) -> ContentBlock:
    return ContentBlock("text", value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (RequestBody("m", prompt="abcde"), [b"abcde\0\0\0"]),
        (RequestBody("m", prompt="\xfc\ud800"), ["\xfc?\0".encode()]),
        (RequestBody("m", prompt=""), [b""]),
        (RequestBody("m", prompts=("ab", "", "cdef")), [b"ab\0\0", b"", b"cdef"]),
        (RequestBody("m", prompts=(b"\1\0\0\0\2\0\0\0",)), [b"\1\0\0\0\2\0\0\0"]),
        (RequestBody("m", text=b'[{"input":"x"}]'), [b'[{"input":"x"}]\0']),
        (RequestBody("m"), []),
        (chat(), []),
        (chat(ChatMessage("user", "hi!!")), [b"userhi!!"]),
        (chat(ChatMessage("", "sys."), ChatMessage("user", "hi!!")), [b"sys.userhi!!"]),
        (chat(ChatMessage("user", (text("a"), text("b"))), tools=b"[{}]"), [b"[{}]userab\0\0"]),
        (chat(ChatMessage("user", (ContentBlock("thinking", "hm"),))), [b"userhm\0\0"]),
    ],
)
def test_what_is_read_is_text_padded_to_whole_tokens(
    body: RequestBody, expected: list[bytes]
) -> None:
    assert [prompt.tokens for prompt in read_prompts(body, three)] == expected


@pytest.mark.parametrize(
    ("block", "kind", "content"),
    [
        (ContentBlock("image_url", image_url="http://x/y.png"), "image", "http://x/y.png"),
        (ContentBlock("video_url", media="http://x/v"), "video", "http://x/v"),
        (ContentBlock("input_audio", media="AAAAwav"), "audio", "AAAAwav"),
        (ContentBlock("image", media="AAAA"), "image", "AAAA"),
    ],
)
def test_a_medium_is_its_hash_repeated_where_it_stands(
    block: ContentBlock, kind: str, content: str
) -> None:
    asked: list[tuple[str, str]] = []

    def count(kind: str, content: str) -> int:
        asked.append((kind, content))
        return 3

    (prompt,) = read_prompts(chat(ChatMessage("user", (text("a"), block, text("b")))), count)
    token = (xxh64_intdigest(content.encode()) & 0xFFFFFFFF).to_bytes(4, "little")
    assert prompt.tokens == b"usera\0\0\0" + 3 * token + b"b\0\0\0"
    hash_text = xxh64_hexdigest(content.encode()).lstrip("0")
    assert prompt.features == (MediaFeature(kind, hash_text, 2, 3),)
    assert asked == [(kind, content)]


@pytest.mark.parametrize(
    "block", [ContentBlock("input_file", media="AAAA"), ContentBlock("image_url"), text("")]
)
def test_what_nobody_can_size_is_passed_over(block: ContentBlock) -> None:
    (prompt,) = read_prompts(chat(ChatMessage("user", (block,))), three)
    assert (prompt.tokens, prompt.features) == (b"user", ())


def test_media_in_a_prompt_of_tokens_belong_to_the_first_one_in_their_order() -> None:
    first, second = MediaFeature("image", "b", 0, 2), MediaFeature("video", "a", 2, 1)
    outside = [
        MediaFeature("image", "c", 3, 1),
        MediaFeature("image", "d", 2, 1 << 80),
        MediaFeature("image", "e", -1, 1),
        MediaFeature("image", "f", 0, 0),
    ]
    body = RequestBody("m", prompts=(bytes(12), bytes(40)), features=[second, *outside, first])
    one, other = read_prompts(body, three)
    assert (one.tokens, one.features) == (bytes(12), (first, second))
    assert (other.tokens, other.features) == (bytes(40), ())


def test_media_of_any_alleged_size_need_a_bounded_amount_of_memory() -> None:
    image = ContentBlock("image_url", image_url="x")
    body = chat(ChatMessage("", (image,) * 100))
    (prompt,) = read_prompts(body, lambda _kind, _content: 1 << 60)
    assert len(prompt) == MAX_MEDIA_TOKENS + 99
    assert [feature.length for feature in prompt.features] == [MAX_MEDIA_TOKENS] + [1] * 99


def test_the_sizes_of_only_so_many_media_are_looked_at() -> None:
    asked: list[str] = []

    def count(_kind: str, content: str) -> int:
        asked.append(content)
        return 2

    images = tuple([ContentBlock("image_url", image_url=str(i)) for i in range(1200)])
    (prompt,) = read_prompts(chat(ChatMessage("", images)), count)
    assert asked == [str(i) for i in range(MAX_SIZED_MEDIA)]
    assert [f.length for f in prompt.features] == [2] * MAX_SIZED_MEDIA + [1] * 200


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9), st.booleans()), min_size=1))
def test_features_lie_in_the_tokens_one_after_the_other(
    parts: list[tuple[str, str, bool]],
) -> None:
    messages = [
        ChatMessage(role, (text(said), *[ContentBlock("image_url", image_url="x")] * image))
        for role, said, image in parts
    ]
    (prompt,) = read_prompts(chat(*messages), three)
    assert len(prompt.tokens) % 4 == 0
    token = (xxh64_intdigest(b"x") & 0xFFFFFFFF).to_bytes(4, "little")
    end = 0
    for feature in prompt.features:
        assert feature.offset >= end
        end = feature.offset + feature.length
        assert prompt.tokens[4 * feature.offset : 4 * end] == 3 * token
    assert len(prompt) >= end
