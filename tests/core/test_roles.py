from __future__ import annotations

import pytest

from epp.core.roles import DECODE, ENCODE, PREFILL, ROLE_LABEL
from tests.fakes import make_endpoint


@pytest.mark.parametrize(
    ("label", "decodes", "prefills", "encodes"),
    [
        (None, True, False, False),
        ("", False, False, False),
        ("decode", True, False, False),
        ("prefill", False, True, False),
        ("encode", False, False, True),
        ("encode-prefill", False, True, True),
        ("prefill-decode", True, True, False),
        ("both", True, True, False),
        ("encode-prefill-decode", True, True, True),
        ("encode-decode", False, False, False),
        ("Decode", False, False, False),
    ],
)
def test_the_label_says_which_parts_an_endpoint_does(
    label: str | None, decodes: bool, prefills: bool, encodes: bool
) -> None:
    endpoint = make_endpoint("a", labels={} if label is None else {ROLE_LABEL: label})
    found = [role.among([endpoint]) == [endpoint] for role in (DECODE, PREFILL, ENCODE)]
    assert found == [decodes, prefills, encodes]


def test_the_label_is_the_routers() -> None:
    assert ROLE_LABEL == "llm-d.ai/role"


def test_the_order_stays() -> None:
    roles = ["decode", "prefill", "both", "decode"]
    members = [make_endpoint(str(i), labels={ROLE_LABEL: r}) for i, r in enumerate(roles)]
    assert [e.name for e in DECODE.among(members)] == ["0", "2", "3"]
    assert DECODE.among([]) == []
