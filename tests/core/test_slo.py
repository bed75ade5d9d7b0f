from __future__ import annotations

import pytest

from epp.core.slo import TPOT_HEADERS, TTFT_HEADERS, slo_ms


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"200", 200.0),
        (b"12.5", 12.5),
        (b"1e3", 1000.0),
        (b"0", 0.0),
        (b"-5", 0.0),
        (b"", 0.0),
        (b"soon", 0.0),
        (b"\xff", 0.0),
        (b"nan", 0.0),
        (b"inf", 0.0),
    ],
)
def test_an_objective_is_a_number_above_0_or_none(value: bytes, expected: float) -> None:
    assert slo_ms({"x-llm-d-slo-ttft-ms": value}, TTFT_HEADERS) == expected


@pytest.mark.parametrize("header", ["x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"])
def test_there_are_two_spellings(header: str) -> None:
    assert slo_ms({header: b"0.5"}, TPOT_HEADERS) == 0.5
    assert slo_ms({header.replace("tpot", "ttft"): b"0.5"}, TTFT_HEADERS) == 0.5


def test_the_newer_header_comes_first() -> None:
    headers = {"x-slo-tpot-ms": b"7", "x-slo-ttft-ms": b"9", "x-llm-d-slo-ttft-ms": b"8"}
    assert slo_ms(headers, TPOT_HEADERS) == 7
    assert slo_ms(headers, TTFT_HEADERS) == 8
    assert slo_ms({}, TPOT_HEADERS) == 0
