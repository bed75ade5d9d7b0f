from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.tokens.images import MOST_SEGMENTS, image_size

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (800).to_bytes(4, "big") + (600).to_bytes(4, "big")
GIF = b"GIF89a" + (320).to_bytes(2, "little") + (200).to_bytes(2, "little")


def segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + (len(content) + 2).to_bytes(2, "big") + content


def jpeg(*before: bytes, kind: int = 0xC0) -> bytes:
    size = (480).to_bytes(2, "big") + (640).to_bytes(2, "big")
    return b"\xff\xd8" + b"".join(before) + segment(kind, b"\x08" + size + b"\x03")


def encoded(file: bytes, *, after: int = 60) -> str:
    return base64.b64encode(file + bytes(after)).decode()


@pytest.mark.parametrize(
    ("file", "size"),
    [
        (PNG, (800, 600)),
        (GIF, (320, 200)),
        (jpeg(), (640, 480)),
        (jpeg(kind=0xC2), (640, 480)),
        (jpeg(segment(0xE0, bytes(14)), b"\xff\xff" + segment(0xC4, bytes(9))), (640, 480)),
        (jpeg(b"\xff\xd0", segment(0xE1, bytes(60_000))), (640, 480)),
        (jpeg(*[segment(0xE2, b"x" * 60_000)] * 3), (640, 480)),
        (jpeg(*[segment(0xE2, b"")] * MOST_SEGMENTS), None),
        (jpeg(segment(0xE2, b"x" * 100))[:-8], None),
        (b"\xff\xd8", None),
        (PNG[:20], None),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), None),
        (b"RIFF" + bytes(40), None),
        (GIF[:6] + bytes(4), None),
        (b"", None),
    ],
    ids=str,
)
def test_the_size_is_in_the_first_bytes(file: bytes, size: tuple[int, int] | None) -> None:
    assert image_size(encoded(file, after=0 if size is None else 60)) == size


@pytest.mark.parametrize(
    ("content", "size"),
    [
        ("data:image/png;base64," + encoded(PNG), (800, 600)),
        ("data:image/png;base64," + encoded(PNG, after=100_000), (800, 600)),
        (encoded(GIF), (320, 200)),
        ("data:image/png," + encoded(PNG), None),
        ("https://example.com/a.png", None),
        ("data:image/png;base64,\xfc", None),
        ("data:image/png;base64,!!!!", None),
        ("data:", None),
        ("", None),
    ],
)
def test_it_is_read_from_base64_only(content: str, size: tuple[int, int] | None) -> None:
    assert image_size(content) == size


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8", PNG[:16], b"GIF89a", b""]))
def test_no_file_is_too_strange(rest: bytes, start: bytes) -> None:
    size = image_size(encoded(start + rest, after=0))
    assert size is None or min(size) > 0
