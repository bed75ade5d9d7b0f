"""How fast a client wants its answer.

Source: llm-d-router v0.10, the predicted-latency plugins.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from epp.core.request import Headers, header_text

TTFT_HEADERS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
TPOT_HEADERS = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")


def slo_ms(headers: Headers, names: Sequence[str]) -> float:
    """The objective in the first header that is there, in milliseconds; 0 where it is none."""
    text = next(filter(None, (header_text(headers, name) for name in names)), "")
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if isfinite(value) and value > 0 else 0.0
