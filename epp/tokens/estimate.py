"""How many tokens an image, a video or a sound has: rules that a configuration can tune.

Numbers that are 0 or below mean the default.

Source: llm-d-router v0.10, requestcontrol/dataproducer/tokenizer.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal

import msgspec

from epp.core.request import Headers, header_text
from epp.tokens.images import image_size

DURATION_HEADER = "x-llm-d-video-duration-seconds"
RESOLUTION_HEADER = "x-llm-d-video-resolution"
FPS_HEADER = "x-llm-d-video-fps"
DEFAULT_WIDTH, DEFAULT_HEIGHT = 640, 360
DEFAULT_FACTOR = 1024
DEFAULT_DURATION = 10.0
DEFAULT_SAMPLE_FPS = 2.0
DEFAULT_SOURCE_FPS = 24.0
BYTES_PER_TOKEN = 4
MOST = 1e9
"""No header is believed to mean more seconds, or frames per second."""


class _Rule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """camelCase in YAML; a key that nobody knows is an error."""


class Resolution(_Rule, frozen=True):
    """Pixels."""

    width: int = DEFAULT_WIDTH
    height: int = DEFAULT_HEIGHT

    def tokens(self, factor: int) -> int:
        """One for ``factor`` pixels, at least one."""
        width = self.width if self.width > 0 else DEFAULT_WIDTH
        height = self.height if self.height > 0 else DEFAULT_HEIGHT
        return max(1, width * height // (factor if factor > 0 else DEFAULT_FACTOR))


class StaticImage(_Rule, frozen=True):
    """Every image has the same number of tokens."""

    static_token: int = 0


class Dynamic(_Rule, frozen=True):
    """One token for so many pixels."""

    factor: int = DEFAULT_FACTOR


class ImageRule(_Rule, frozen=True):
    """The tokens of an image; without a size that can be read it has the default one."""

    mode: Literal["dynamic", "static", ""] = "dynamic"
    default_resolution: Resolution = Resolution()
    static: StaticImage = StaticImage()
    dynamic: Dynamic = Dynamic()

    def tokens(self, content: str) -> int:
        """At least one."""
        if self.mode == "static":
            return max(1, self.static.static_token)
        size = image_size(content)
        resolution = self.default_resolution if size is None else Resolution(*size)
        return resolution.tokens(self.dynamic.factor)


class StaticFrame(_Rule, frozen=True):
    """Every frame has the same number of tokens."""

    num_tokens_per_frame: int = 0


class FrameRule(_Rule, frozen=True):
    """The tokens of a frame."""

    mode: Literal["dynamic", "static", ""] = "dynamic"
    static: StaticFrame = StaticFrame()
    dynamic: Dynamic = Dynamic()


class Sampled(_Rule, frozen=True):
    """So many frames per second, of which several make one group of tokens."""

    sample_fps: float = msgspec.field(default=DEFAULT_SAMPLE_FPS, name="sampleFPS")
    temporal_patch_size: int = 1


class Strided(_Rule, frozen=True):
    """Every so many frames of the video's own."""

    default_source_fps: float = msgspec.field(default=DEFAULT_SOURCE_FPS, name="defaultSourceFPS")
    frame_stride: int = 1


class FramesRule(_Rule, frozen=True):
    """How many frames of a video count; 0 is no minimum, and no maximum."""

    mode: Literal["sampled", "strided", ""] = "sampled"
    min_frames: int = 0
    max_frames: int = 0
    sampled: Sampled = Sampled()
    strided: Strided = Strided()

    def frames(self, seconds: float, source_fps: float) -> int:
        """``source_fps`` is 0 where the request does not tell it."""
        if self.mode == "strided":
            fps = source_fps or _above_0(self.strided.default_source_fps, DEFAULT_SOURCE_FPS)
            return self._within(int(seconds * fps) // max(1, self.strided.frame_stride))
        fps = _above_0(self.sampled.sample_fps, DEFAULT_SAMPLE_FPS)
        frames = self._within(int(seconds * fps))
        return frames // max(1, self.sampled.temporal_patch_size)

    def _within(self, frames: int) -> int:
        frames = max(frames, self.min_frames)
        return min(frames, self.max_frames) if self.max_frames > 0 else frames


class VideoRule(_Rule, frozen=True):
    """The tokens of a video: frames x tokens of a frame; nobody looks into it.

    ``default_duration`` is in seconds; ``max_video_tokens`` 0 is no limit.
    """

    default_resolution: Resolution = Resolution()
    default_duration: float = DEFAULT_DURATION
    max_video_tokens: int = 0
    tokens_per_frame: FrameRule = FrameRule()
    frames: FramesRule = FramesRule()

    def tokens(self, headers: Headers) -> int:
        """At least one. The request's headers win over the configuration."""
        seconds = _number(headers, DURATION_HEADER)
        seconds = seconds or _above_0(self.default_duration, DEFAULT_DURATION)
        frames = self.frames.frames(seconds, _number(headers, FPS_HEADER))
        tokens = frames * self._tokens_per_frame(headers)
        if self.max_video_tokens > 0:
            tokens = min(tokens, self.max_video_tokens)
        return max(1, tokens)

    def _tokens_per_frame(self, headers: Headers) -> int:
        rule = self.tokens_per_frame
        if rule.mode == "static":
            return max(1, rule.static.num_tokens_per_frame)
        resolution = _resolution(headers) or self.default_resolution
        return resolution.tokens(rule.dynamic.factor)


class Estimate(_Rule, frozen=True):
    """The rules for all kinds of media."""

    image: ImageRule = ImageRule()
    video: VideoRule = VideoRule()

    def tokens(self, kind: str, content: str, headers: Headers) -> int:
        """The tokens of a medium in a request with these headers, at least one."""
        if kind == "image":
            return self.image.tokens(content)
        if kind == "video":
            return self.video.tokens(headers)
        return max(1, -(-len(content) // BYTES_PER_TOKEN))


def _number(headers: Headers, name: str) -> float:
    """What the header says; 0 where it says nothing usable."""
    try:
        value = float(header_text(headers, name))
    except ValueError:
        return 0.0
    return min(value, MOST) if isfinite(value) and value > 0 else 0.0


def _resolution(headers: Headers) -> Resolution | None:
    """``WIDTHxHEIGHT``."""
    width, _, height = header_text(headers, RESOLUTION_HEADER).lower().partition("x")
    try:
        found = Resolution(int(width), int(height))
    except ValueError:
        return None
    return found if found.width > 0 and found.height > 0 else None


def _above_0(value: float, otherwise: float) -> float:
    return value if value > 0 else otherwise
