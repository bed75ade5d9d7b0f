from random import Random

import pytest

from epp.simulator.latency import LatencyModel
from tests.simulator.fakes import options


def model(flags: str = "") -> LatencyModel:
    return LatencyModel(options("--model", "m", *flags.split()), Random(1))


def test_by_default_nothing_takes_time() -> None:
    latency = model()
    assert latency.time_to_first_token_ms(1000, 0, 5) == 0
    assert latency.kv_transfer_ms(1000) == 0
    assert latency.inter_token_ms(5) == 0


@pytest.mark.parametrize(
    ("flags", "expected_ms"),
    [
        ("--time-to-first-token 200ms --prefill-overhead 1s", 200),
        ("--prefill-overhead 100ms --prefill-time-per-token 1ms", 100 + 60),
        ("--prefill-time-per-token 500us", 30),
        ("--latency-calculator constant --prefill-overhead 1s", 0),
        ("--latency-calculator per-token --time-to-first-token 1s --prefill-overhead 7ms", 7),
    ],
)
def test_cached_tokens_shorten_the_time_per_token_only(flags: str, expected_ms: int) -> None:
    assert model(flags).time_to_first_token_ms(100, 40, 1) == expected_ms


@pytest.mark.parametrize(
    ("flags", "expected_ms"),
    [
        ("--kv-cache-transfer-latency 50ms --kv-cache-transfer-time-per-token 1s", 50),
        ("--kv-cache-transfer-time-per-token 2ms --time-factor-under-load 9", 200),
    ],
)
def test_a_transfer_takes_its_own_time_whatever_the_load(flags: str, expected_ms: int) -> None:
    assert model(flags).kv_transfer_ms(100) == expected_ms


@pytest.mark.parametrize(("running", "expected_ms"), [(1, 100), (3, 200), (5, 300)])
def test_load_stretches_time_up_to_the_factor(running: int, expected_ms: int) -> None:
    flags = "--time-factor-under-load 3 --time-to-first-token 100ms --inter-token-latency 100ms"
    latency = model(flags)
    assert latency.time_to_first_token_ms(1, 0, running) == expected_ms
    assert latency.inter_token_ms(running) == expected_ms


def test_a_single_slot_is_never_under_load() -> None:
    latency = model("--max-num-seqs 1 --time-factor-under-load 3 --inter-token-latency 10")
    assert latency.inter_token_ms(1) == 10


def test_less_than_a_millisecond_is_no_delay() -> None:
    assert model("--inter-token-latency 999us").inter_token_ms(1) == 0


def test_drawn_delays_differ_and_stay_near_the_mean() -> None:
    latency = model("--inter-token-latency 100 --inter-token-latency-std-dev 30")
    drawn = [latency.inter_token_ms(1) for _ in range(3000)]
    assert 30 <= min(drawn) < max(drawn) <= 170
    assert 95 < sum(drawn) / len(drawn) < 105
