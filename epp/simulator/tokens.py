"""Tokens without a model: a prompt token is a match of one regular expression.

Source: llm-d-inference-sim v0.7.1, tokenisation; FNV-1a token ids as in its dummy tokenizer.
"""

from __future__ import annotations

import re

# The original lists the punctuation as alternatives before ``\w+``; one character class says the
# same and runs faster. "_" is in both: alone it is a token only where no word has begun.
_TOKEN = re.compile(r"""(?:[{}:,\-.?!;@#$%^&*()+_~/\\><\[\]="]|\w+)\s*""", re.ASCII)

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193


def tokenize(text: str) -> list[str]:
    """The tokens of a text; white space belongs to the token before it.

    Characters outside the expression (apostrophes, every letter beyond ASCII) vanish.
    """
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """A stable number for a token: FNV-1a, 32 bits."""
    value = _FNV_OFFSET
    for byte in token.encode():
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value
