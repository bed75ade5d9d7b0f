from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from epp.tokens.estimate import Estimate

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (64).to_bytes(4, "big") + (96).to_bytes(4, "big")
IMAGE = "data:image/png;base64," + base64.b64encode(PNG).decode()
FRAME = 640 * 360 // 1024


def rules(**values: Any) -> Estimate:
    return msgspec.convert(values, Estimate)


@pytest.mark.parametrize(
    ("image", "content", "tokens"),
    [
        ({}, "http://x/y", FRAME),
        ({}, IMAGE, 6),
        ({"mode": "static"}, IMAGE, 1),
        ({"mode": "static", "static": {"staticToken": 280}}, IMAGE, 280),
        ({"dynamic": {"factor": 64}}, IMAGE, 96),
        ({"dynamic": {"factor": 0}}, IMAGE, 6),
        ({"dynamic": {"factor": 1 << 20}}, IMAGE, 1),
        ({"defaultResolution": {"width": 64, "height": 64}}, "http://x/y", 4),
        ({"defaultResolution": {"width": 64, "height": 0}}, "http://x/y", 64 * 360 // 1024),
        ({"mode": ""}, IMAGE, 6),
    ],
)
def test_an_image_has_as_many_tokens_as_its_size_gives(
    image: dict[str, Any], content: str, tokens: int
) -> None:
    assert rules(image=image).tokens("image", content, {}) == tokens


@pytest.mark.parametrize(
    ("video", "headers", "tokens"),
    [
        ({}, {}, 20 * FRAME),
        ({"defaultDuration": 3.7}, {}, 7 * FRAME),
        ({"defaultDuration": 0}, {}, 20 * FRAME),
        ({"maxVideoTokens": 1000}, {}, 1000),
        ({}, {"duration-seconds": b"0.2"}, 1),
        ({}, {"duration-seconds": b"2.5", "resolution": b"64x64"}, 5 * 4),
        ({}, {"duration-seconds": b"x", "resolution": b"64"}, 20 * FRAME),
        ({}, {"duration-seconds": b"-1", "resolution": b"0x64"}, 20 * FRAME),
        ({}, {"duration-seconds": b"inf"}, 20 * FRAME),
        ({}, {"duration-seconds": b"nan"}, 20 * FRAME),
        ({}, {"fps": b"60"}, 20 * FRAME),
        ({"defaultResolution": {"width": 32, "height": 32}}, {}, 20),
        ({"tokensPerFrame": {"mode": "static"}}, {"resolution": b"64x64"}, 20),
        ({"tokensPerFrame": {"mode": "static", "static": {"numTokensPerFrame": 5}}}, {}, 100),
        ({"tokensPerFrame": {"dynamic": {"factor": 640 * 360}}}, {}, 20),
        ({"frames": {"minFrames": 30}}, {}, 30 * FRAME),
        ({"frames": {"maxFrames": 8}}, {}, 8 * FRAME),
        ({"frames": {"sampled": {"sampleFPS": 0.5}}}, {}, 5 * FRAME),
        ({"frames": {"sampled": {"temporalPatchSize": 3}}}, {}, 6 * FRAME),
        ({"frames": {"maxFrames": 9, "sampled": {"temporalPatchSize": 2}}}, {}, 4 * FRAME),
        ({"frames": {"mode": "strided"}}, {}, 240 * FRAME),
        ({"frames": {"mode": "strided"}}, {"fps": b"30"}, 300 * FRAME),
        ({"frames": {"mode": "strided", "strided": {"defaultSourceFPS": 10}}}, {}, 100 * FRAME),
        ({"frames": {"mode": "strided", "strided": {"frameStride": 7}}}, {}, 34 * FRAME),
        ({"frames": {"mode": "strided", "maxFrames": 8}}, {}, 8 * FRAME),
    ],
)
def test_a_video_has_frames_times_the_tokens_of_a_frame(
    video: dict[str, Any], headers: dict[str, bytes], tokens: int
) -> None:
    told = {f"x-llm-d-video-{name}": value for name, value in headers.items()}
    assert rules(video=video).tokens("video", "http://x/y", told) == tokens


def test_no_header_makes_a_number_too_large_to_count() -> None:
    headers = {"x-llm-d-video-duration-seconds": b"1e308", "x-llm-d-video-fps": b"1e308"}
    strided = rules(video={"frames": {"mode": "strided"}})
    assert strided.tokens("video", "", headers) > 0
    assert rules().tokens("video", "", headers) > 0


@pytest.mark.parametrize(("content", "tokens"), [("", 1), ("AAAAw", 2), ("AAAA", 1)])
def test_a_sound_has_a_token_for_four_bytes(content: str, tokens: int) -> None:
    assert rules().tokens("audio", content, {}) == tokens


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"mode": "other"}},
        {"video": {"frames": {"mode": "other"}}},
        {"video": {"tokensPerFrame": {"mode": "other"}}},
        {"pictures": {}},
        {"image": {"static": {"staticTokens": 3}}},
    ],
)
def test_what_nobody_knows_is_an_error(values: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        rules(**values)
