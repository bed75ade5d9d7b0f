from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from epp.core.request import RequestKey, Usage
from epp.telemetry.request_metrics import RequestMetrics
from tests.telemetry.worlds import series

OLD, NEW = "inference_objective", "llm_d_epp_request"
USAGE = Usage(prompt_tokens=7, completion_tokens=10, total_tokens=17, cached_tokens=3)
KEY = RequestKey("m", "t", "alice", -1)
PAIR = 'model_name="m",target_model_name="t"'
FULL = 'fairness_id="alice",model_name="m",priority="-1",target_model_name="t"'


class World:
    """The metrics on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = RequestMetrics(self.registry, ())

    def page(self, prefix: str = "") -> dict[str, float]:
        return series(self.registry, prefix)

    def route(self, key: RequestKey = KEY, size_bytes: int = 100) -> None:
        self.metrics.request_routed(key, size_bytes=size_bytes, seconds=0.25)

    def complete(self, key: RequestKey = KEY, **how: Any) -> None:
        usual: dict[str, Any] = {
            "seconds": 2.0,
            "first_byte_seconds": 0.5,
            "handling_seconds": None,
            "size_bytes": 70,
            "is_streaming": True,
            "usage": USAGE,
        }
        self.metrics.response_complete(key, **usual | how)

    def observed(self, prefix: str) -> set[str]:
        """The histograms that have series, by what follows the prefix."""
        names = {name.split("{")[0] for name in self.page(prefix)}
        return {n.removesuffix("_count")[len(prefix) + 1 :] for n in names if n.endswith("_count")}


def test_reports_become_numbers_under_both_names() -> None:
    world = World()
    world.route()
    world.metrics.running_changed(KEY, 1)
    world.metrics.gap_timer(KEY)(0.25)
    world.metrics.request_failed(KEY, "Internal")
    world.metrics.request_refused(0.5)
    world.complete()
    expected = {
        f"{OLD}_request_total{{{PAIR}}}": 1,
        f"{NEW}_total{{{FULL}}}": 1,
        f'{OLD}_request_error_total{{error_code="Internal",{PAIR}}}': 1,
        f'{NEW}_error_total{{error_code="Internal",{FULL}}}': 1,
        f'{OLD}_running_requests{{model_name="m"}}': 1,
        f"{NEW}_running{{{FULL}}}": 1,
        f'{OLD}_request_sizes_bucket{{{PAIR},le="64"}}': 0,
        f'{OLD}_request_sizes_bucket{{{PAIR},le="128"}}': 1,
        f'{NEW}_size_bytes_bucket{{{FULL},le="128"}}': 1,
        f"{OLD}_request_sizes_sum{{{PAIR}}}": 100,
        f"{NEW}_size_bytes_sum{{{FULL}}}": 100,
        f"{OLD}_response_sizes_sum{{{PAIR}}}": 70,
        "llm_d_epp_response_size_bytes_sum{" + FULL + "}": 70,
        f"{OLD}_request_duration_seconds_sum{{{PAIR}}}": 2,
        f"{NEW}_duration_seconds_sum{{{FULL}}}": 2,
        f"{OLD}_input_tokens_sum{{{PAIR}}}": 7,
        f"{NEW}_input_tokens_sum{{{FULL}}}": 7,
        f"{OLD}_output_tokens_sum{{{PAIR}}}": 10,
        f"{NEW}_output_tokens_sum{{{FULL}}}": 10,
        f"{OLD}_prompt_cached_tokens_sum{{{PAIR}}}": 3,
        f"{NEW}_cached_tokens_sum{{{FULL}}}": 3,
        f"{OLD}_normalized_time_per_output_token_seconds_sum{{{PAIR}}}": 0.2,
        f"{NEW}_ntpot_seconds_sum{{{FULL}}}": 0.2,
        f"{NEW}_streaming_tpot_seconds_sum{{{FULL}}}": 1.5 / 9,
        f"{NEW}_streaming_itl_seconds_sum{{{FULL}}}": 0.25,
        f"{NEW}_processing_duration_seconds_sum": 0.75,
        f"{NEW}_processing_duration_seconds_count": 2,
    }
    page = world.page()
    assert {name: page.get(name) for name in expected} == expected
    first = FULL.replace(",target", ',streaming="true",target')
    assert page[f"{NEW}_ttft_seconds_sum{{{first}}}"] == 0.5


def test_an_answer_that_is_not_streamed_has_its_own_times() -> None:
    world = World()
    world.complete(is_streaming=False, handling_seconds=0.75)
    page = world.page()
    first = FULL.replace(",target", ',streaming="false",target')
    assert page[f"{NEW}_ttft_seconds_sum{{{first}}}"] == 0.5
    assert page["llm_d_epp_response_processing_duration_seconds_sum"] == 0.75
    assert page[f"{NEW}_ntpot_seconds_sum{{{FULL}}}"] == 0.2
    assert world.observed(NEW).isdisjoint({"streaming_tpot_seconds", "streaming_itl_seconds"})


@pytest.mark.parametrize(
    ("is_streaming", "usage", "old", "new"),
    [
        (True, None, set(), set()),
        (True, Usage(), {"cached"}, set()),
        (True, Usage(cached_tokens=0), {"cached"}, {"cached"}),
        (True, Usage(prompt_tokens=0, completion_tokens=0), {"cached"}, set()),
        (True, Usage(completion_tokens=1), {"cached", "output", "ntpot"}, {"output", "ntpot"}),
        (False, USAGE, {"cached", "input", "output"}, {"cached", "input", "output", "ntpot"}),
        (
            True,
            USAGE,
            {"cached", "input", "output", "ntpot"},
            {"cached", "input", "output", "ntpot", "tpot"},
        ),
    ],
)
def test_only_tokens_that_were_reported_are_counted(
    is_streaming: bool, usage: Usage | None, old: set[str], new: set[str]
) -> None:
    names = {
        "cached": ("prompt_cached_tokens", "cached_tokens"),
        "input": ("input_tokens", "input_tokens"),
        "output": ("output_tokens", "output_tokens"),
        "ntpot": ("normalized_time_per_output_token_seconds", "ntpot_seconds"),
        "tpot": ("", "streaming_tpot_seconds"),
    }
    world = World()
    world.complete(is_streaming=is_streaming, usage=usage)
    assert world.observed(OLD) == {
        *(names[name][0] for name in old),
        "request_duration_seconds",
        "response_sizes",
    }
    assert world.observed(NEW) == {
        *(names[name][1] for name in new),
        "duration_seconds",
        "ttft_seconds",
        "processing_duration_seconds",
    }


def test_a_usage_that_tells_no_cached_tokens_is_a_zero_of_the_older_family_only() -> None:
    world = World()
    world.complete(usage=Usage(cached_tokens=5))
    world.complete(usage=Usage(prompt_tokens=5))
    page = world.page()
    name = f"{OLD}_prompt_cached_tokens"
    assert page[f'{name}_bucket{{{PAIR},le="1"}}'] == 1
    assert page[f"{name}_count{{{PAIR}}}"] == 2
    assert page[f"{NEW}_cached_tokens_count{{{FULL}}}"] == 1


def test_an_answer_without_a_body_has_no_first_byte() -> None:
    world = World()
    world.complete(first_byte_seconds=None)
    assert world.observed(NEW).isdisjoint({"ttft_seconds", "streaming_tpot_seconds"})


def test_the_older_families_are_sums_over_flows_and_priorities() -> None:
    world = World()
    flows = [("a", 0), ("b", 0), ("b", 5)]
    keys = [RequestKey("m", "t", flow, priority) for flow, priority in flows]
    keys.append(RequestKey("m", "u"))
    for size, key in enumerate(keys, start=1):
        world.route(key, size)
        world.metrics.running_changed(key, 1)
        world.metrics.request_failed(key, "Unknown")
        world.complete(key, is_streaming=size % 2 == 0)
    page = world.page()
    assert page[f"{OLD}_request_total{{{PAIR}}}"] == 3
    assert page[f"{OLD}_request_sizes_sum{{{PAIR}}}"] == 6
    assert page[f'{OLD}_request_error_total{{error_code="Unknown",{PAIR}}}'] == 3
    assert page[f'{OLD}_running_requests{{model_name="m"}}'] == 4
    assert page[f"{OLD}_normalized_time_per_output_token_seconds_count{{{PAIR}}}"] == 1
    for family in ("total", "size_bytes_count", "running", "ntpot_seconds_count"):
        assert len(world.page(f"{NEW}_{family}{{")) == 4


def test_the_newer_families_call_an_exhausted_pool_by_its_newer_name() -> None:
    world = World()
    world.metrics.request_failed(KEY, "InferencePoolResourceExhausted")
    world.metrics.request_failed(KEY, "ResourceExhausted")
    old = [name.split('"')[1] for name in world.page(f"{OLD}_request_error_total")]
    assert old == ["InferencePoolResourceExhausted", "ResourceExhausted"]
    assert world.page(f"{NEW}_error_total") == {
        f'{NEW}_error_total{{error_code="ResourceExhausted",{FULL}}}': 2
    }


def test_running_requests_go_up_and_down_but_not_without_a_model() -> None:
    world = World()
    for key in (KEY, RequestKey("", "")):
        world.route(key)
    world.metrics.running_changed(KEY, 1)
    assert world.page(f"{OLD}_running") == {f'{OLD}_running_requests{{model_name="m"}}': 1}
    world.metrics.running_changed(KEY, -1)
    assert world.page(f"{OLD}_running") == {f'{OLD}_running_requests{{model_name="m"}}': 0}
    assert world.page(f"{NEW}_running") == {f"{NEW}_running{{{FULL}}}": 0}


TEXTS = st.text(st.characters(exclude_categories=()), max_size=5) | st.sampled_from(
    ["m" * 128 + "a", "m" * 128 + "b", "m\udcff"]
)


@given(st.lists(st.builds(RequestKey, TEXTS, TEXTS, TEXTS, st.integers(-1, 1)), max_size=5))
def test_whatever_clients_call_things_no_request_is_lost_and_no_series_comes_twice(
    keys: list[RequestKey],
) -> None:
    world = World()
    for key in keys:
        world.route(key)
        world.metrics.gap_timer(key)(0.1)
        world.metrics.request_failed(key, "Unknown")
        world.complete(key)
    world.page()  # refuses series that come twice
    for name in (f"{OLD}_request_total", f"{NEW}_total", f"{NEW}_streaming_itl_seconds_count"):
        assert sum(world.page(f"{name}{{").values()) == len(keys)
