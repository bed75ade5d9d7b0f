from __future__ import annotations

import pytest

from lab import fuzz_http2
from lab.fuzz_http2 import FuzzError, campaign


@pytest.mark.thorough
def test_a_short_campaign_finds_nothing() -> None:
    conversations, streams, damaged = campaign(7, rounds=120)
    assert conversations == 120
    assert streams >= conversations
    assert damaged == 5 * conversations


def test_a_campaign_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def message(self: fuzz_http2.EchoHandler, data: bytes) -> None:
        self.received.append(data)
        self._send(bytes(data)[:-1])  # as if the last byte were lost

    monkeypatch.setattr(fuzz_http2.EchoHandler, "message", message)
    with pytest.raises(FuzzError, match="changed on their way back"):
        campaign(7, rounds=20)
