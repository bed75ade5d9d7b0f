"""Bodies of requests made at random: of about the right shape, or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.core.request import RequestBody

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([2**32 - 1, 2**32, 1e300, 10**400, 16.0])
)


def values(*names: str) -> st.SearchStrategy[Any]:
    """Any JSON, objects with members of these names."""
    return st.recursive(
        _SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=4)
        ),
        max_leaves=8,
    )


def bodies(
    members: Sequence[str], inner: Sequence[str], **usual: st.SearchStrategy[Any]
) -> st.SearchStrategy[bytes]:
    """Objects with these members, each of them as ``usual`` or of any kind."""
    value = values(*inner)
    return st.fixed_dictionaries(
        {}, optional={name: usual[name] | value if name in usual else value for name in members}
    ).map(lambda body: json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A body with some bytes exchanged, dropped or put in."""
    body = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        until = draw(st.integers(at, min(at + 3, len(body))))
        body[at:until] = draw(st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"{", b"\\u"]))
    return bytes(body)


def outcome(read: Callable[[bytes], RequestBody], body: bytes) -> RequestBody | tuple[str, str]:
    """What was read, or why not and the model that was asked for."""
    try:
        return read(body)
    except BadRequestError as error:
        return error.message, error.model


HOSTILE = [
    b"[" * 100_000,
    b'{"model":"m","x":' * 100_000,
    b'{"model":"m","messages":' + b"[" * 100_000,
    b'{"model":"m","input":' + b'[{"a":' * 100_000,
    b'{"model":"m","max_tokens":%b,"prompt":"p"}' % (b"9" * 1_000_000),
    b'{"model":"m","token_ids":[%b]}' % (b"9" * 1_000_000),
    b'{"model":"m","prompt":[1e%b]}' % (b"9" * 100_000),
    b'{"model":"m","messages":[%b]}' % b",".join([b"{}"] * 100_000),
]
"""Bodies that cost whoever reads them carelessly much more than their length."""
