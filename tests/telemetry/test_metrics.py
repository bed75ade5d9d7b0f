from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from epp.core.endpoint import EndpointMetrics
from epp.core.request import Usage
from epp.datastore.store import Datastore, Pool
from epp.telemetry.exposition import render
from epp.telemetry.metrics import MAX_SERIES, MetricsProbe, label_text
from tests.telemetry.worlds import endpoint, pool

M = ("model_name", "target_model_name")
USAGE = Usage(prompt_tokens=7, completion_tokens=10, total_tokens=17, cached_tokens=3)

# fmt: off
LAT = (
    "0.005 0.025 0.05 0.1 0.2 0.4 0.6 0.8 1 1.25 1.5 2 3 4 5 6 8 10 15 20 30 45 60 120 180 240 300 "
    "360 480 600 900 1200 1800 2700 3600"
)
REQSZ = (
    "64 128 256 512 1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1.048576e+06 "
    "2.097152e+06 4.194304e+06 8.388608e+06 1.6777216e+07 3.3554432e+07 6.7108864e+07 "
    "1.34217728e+08 2.68435456e+08 5.36870912e+08 1.073741824e+09"
)
RESPSZ = "1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32778 65536"
TOKIN = f"{RESPSZ} 131072 262144 524288 1.048576e+06"
TOKOUT = "1 8 16 32 64 128 256 512 1024 2048 4096 8192"
NTPOT = "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10"
SCHED = "0.0001 0.0002 0.0005 0.001 0.002 0.005 0.01 0.02 0.05 0.1"
RATIO = "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"
LAG = "0.0005 0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10"
HITB = "0 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536"
# fmt: on

CATALOGUE: dict[str, tuple[str, tuple[str, ...], str]] = {
    "inference_objective_request_total": ("counter", M, ""),
    "inference_objective_request_error_total": ("counter", (*M, "error_code"), ""),
    "inference_objective_request_duration_seconds": ("histogram", M, LAT),
    "inference_objective_request_sizes": ("histogram", M, REQSZ),
    "inference_objective_response_sizes": ("histogram", M, RESPSZ),
    "inference_objective_input_tokens": ("histogram", M, TOKIN),
    "inference_objective_output_tokens": ("histogram", M, TOKOUT),
    "inference_objective_prompt_cached_tokens": ("histogram", M, TOKIN),
    "inference_objective_running_requests": ("gauge", ("model_name",), ""),
    "inference_objective_normalized_time_per_output_token_seconds": ("histogram", M, NTPOT),
    "inference_pool_average_kv_cache_utilization": ("gauge", ("name",), ""),
    "inference_pool_average_queue_size": ("gauge", ("name",), ""),
    "inference_pool_ready_pods": ("gauge", ("name",), ""),
    "inference_pool_per_pod_queue_size": ("gauge", ("model_server_pod", "name"), ""),
    "inference_extension_scheduler_e2e_duration_seconds": ("histogram", (), SCHED),
    "inference_extension_plugin_duration_seconds": (
        "histogram",
        ("extension_point", "plugin_name", "plugin_type"),
        SCHED,
    ),
    "inference_extension_prefix_indexer_size": ("gauge", (), ""),
    "inference_extension_prefix_indexer_hit_ratio": ("histogram", (), RATIO),
    "inference_extension_prefix_indexer_hit_bytes": ("histogram", (), HITB),
    "epp_event_loop_lag_seconds": ("histogram", (), LAG),
    "epp_scrape_interval_seconds": ("gauge", (), ""),
    "inference_extension_info": ("gauge", ("build_ref", "commit"), ""),
}


def feed(probe: MetricsProbe) -> None:
    probe.plugin_timer("Scorer", "queue-scorer", "q")(0.0003)
    probe.scheduled(0.001)
    probe.request_routed("m", "t", 100)
    probe.request_failed("m", "t", "Internal")
    probe.running_changed("m", 1)
    probe.response_complete("m", "t", seconds=2.0, size_bytes=70, is_streaming=True, usage=USAGE)
    probe.prefix_matched(3, 4, 64)
    probe.prefix_index_sized(12)
    probe.loop_lagged(0.25)


def series(probe: MetricsProbe, prefix: str = "") -> dict[str, float]:
    """Every line of the page that begins with ``prefix``."""
    lines = [line for line in render(probe.registry).splitlines() if not line.startswith("#")]
    pairs = [line.rsplit(" ", 1) for line in lines if line.startswith(prefix)]
    return {name: float(value) for name, value in pairs}


def test_the_catalogue_has_upstream_s_names_types_labels_and_buckets() -> None:
    probe = MetricsProbe(pool("p", {"a": EndpointMetrics(updated_at=1.0)}))
    feed(probe)
    probe.refresh_pool(1.0, 2.0)
    page = render(probe.registry)
    for name, (kind, labels, buckets) in CATALOGUE.items():
        assert f"# HELP {name} [ALPHA] " in page
        assert f"# TYPE {name} {kind}\n" in page
        lines = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        if kind == "histogram":
            lines = [line for line in page.splitlines() if line.startswith(f"{name}_bucket{{")]
            bounds = [line.split('le="')[1].split('"')[0] for line in lines]
            assert bounds == [*buckets.split(), "+Inf"], name
        assert lines, name
        (family,) = text_string_to_metric_families(lines[0])
        assert set(family.samples[0].labels) - {"le"} == set(labels), name
    ours = {
        line.split()[2]
        for line in page.splitlines()
        if line.startswith(("# TYPE inference", "# TYPE epp"))
    }
    assert ours == set(CATALOGUE)
    assert "epp_event_loop_lag_seconds_sum 0.25\n" in page
    assert "_created" not in page
    assert "process_resident_memory_bytes" in page


def test_reports_become_numbers() -> None:
    probe = MetricsProbe(Datastore(), commit="c0ffee", build_ref="v1")
    feed(probe)
    page = series(probe, "inference_")
    pair = 'model_name="m",target_model_name="t"'
    objective = "inference_objective"
    extension = "inference_extension"
    expected = {
        f"{objective}_request_total{{{pair}}}": 1,
        f'{objective}_request_error_total{{error_code="Internal",{pair}}}': 1,
        f'{objective}_request_sizes_bucket{{{pair},le="64"}}': 0,
        f'{objective}_request_sizes_bucket{{{pair},le="128"}}': 1,
        f"{objective}_request_sizes_sum{{{pair}}}": 100,
        f"{objective}_response_sizes_sum{{{pair}}}": 70,
        f"{objective}_request_duration_seconds_sum{{{pair}}}": 2,
        f"{objective}_input_tokens_sum{{{pair}}}": 7,
        f"{objective}_output_tokens_sum{{{pair}}}": 10,
        f"{objective}_prompt_cached_tokens_sum{{{pair}}}": 3,
        f"{objective}_normalized_time_per_output_token_seconds_sum{{{pair}}}": 0.2,
        f'{objective}_running_requests{{model_name="m"}}': 1,
        f"{extension}_scheduler_e2e_duration_seconds_count": 1,
        f"{extension}_prefix_indexer_hit_ratio_sum": 0.75,
        f"{extension}_prefix_indexer_hit_bytes_sum": 192,
        f"{extension}_prefix_indexer_size": 12,
        f'{extension}_info{{build_ref="v1",commit="c0ffee"}}': 1,
    }
    assert {name: page.get(name) for name in expected} == expected


def test_the_scrape_interval_is_the_one_reported_last() -> None:
    probe = MetricsProbe(Datastore())
    probe.scraped(0.05)
    probe.scraped(0.12)
    assert series(probe, "epp_scrape") == {"epp_scrape_interval_seconds": 0.12}


@pytest.mark.parametrize(
    ("is_streaming", "usage", "counted"),
    [
        (True, None, set()),
        (True, Usage(), {"prompt_cached_tokens"}),
        (True, Usage(prompt_tokens=0, completion_tokens=0), {"prompt_cached_tokens"}),
        (False, USAGE, {"prompt_cached_tokens", "input_tokens", "output_tokens"}),
        (
            True,
            USAGE,
            {
                "prompt_cached_tokens",
                "input_tokens",
                "output_tokens",
                "normalized_time_per_output_token_seconds",
            },
        ),
    ],
)
def test_only_tokens_that_were_reported_are_counted(
    is_streaming: bool, usage: Usage | None, counted: set[str]
) -> None:
    probe = MetricsProbe(Datastore())
    probe.response_complete(
        "m", "t", seconds=1.0, size_bytes=1, is_streaming=is_streaming, usage=usage
    )
    names = {name.split("{")[0] for name in series(probe, "inference_objective")}
    suffix = "_count"
    found = {
        name.removeprefix("inference_objective_").removesuffix(suffix)
        for name in names
        if name.endswith(suffix)
    }
    assert found == counted | {"request_duration_seconds", "response_sizes"}


def test_running_requests_go_up_and_down_but_not_without_a_model() -> None:
    probe = MetricsProbe(Datastore())
    probe.running_changed("m", 1)
    probe.running_changed("m", 1)
    probe.running_changed("m", -1)
    probe.running_changed("", 1)
    assert series(probe, "inference_objective_running_requests") == {
        'inference_objective_running_requests{model_name="m"}': 1
    }


def test_a_prompt_without_blocks_has_no_ratio() -> None:
    probe = MetricsProbe(Datastore())
    probe.prefix_matched(0, 0, 64)
    page = series(probe, "inference_extension_prefix")
    assert page["inference_extension_prefix_indexer_hit_ratio_count"] == 0
    assert page["inference_extension_prefix_indexer_hit_bytes_count"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", "m"),
        ("a" * 200, "a" * 128),
        ("a" * 127 + "\u00e9", "a" * 127),
        ("\u20ac" * 50, "\u20ac" * 42),
        ("a\udcff", "a\ufffd"),
        ("\U0001f600" * 40, "\U0001f600" * 32),
    ],
)
def test_label_values_are_cut_between_characters(text: str, expected: str) -> None:
    assert label_text(text) == expected


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_becomes_a_label_value(text: str) -> None:
    once = label_text(text)
    assert len(once.encode()) <= 128
    assert label_text(once) == once


def test_after_a_thousand_models_the_rest_is_other() -> None:
    probe = MetricsProbe(Datastore())
    for number in range(MAX_SERIES + 50):
        probe.request_routed(f"m{number}", "t", 1)
        probe.running_changed(f"m{number}", 1)
    probe.request_routed("m0", "t", 1)
    for number in range(MAX_SERIES + 50):
        probe.running_changed(f"m{number}", -1)
    requests = series(probe, "inference_objective_request_total")
    other = 'inference_objective_request_total{model_name="other",target_model_name="other"}'
    assert len(requests) == MAX_SERIES + 1
    assert requests[other] == 50
    first = 'inference_objective_request_total{model_name="m0",target_model_name="t"}'
    assert requests[first] == 2
    running = series(probe, "inference_objective_running_requests")
    assert len(running) == MAX_SERIES + 1
    assert set(running.values()) == {0}


def test_names_that_differ_only_where_they_are_cut_share_a_series() -> None:
    probe = MetricsProbe(Datastore())
    for ending in ("a", "b"):
        probe.request_routed("m" * 128 + ending, "t", 1)
    assert list(series(probe, "inference_objective_request_total").values()) == [2]


def test_the_pool_s_gauges_are_means_of_fresh_endpoints() -> None:
    store = pool(
        "p",
        {
            "a": EndpointMetrics(waiting_queue_size=2, kv_cache_ratio=0.25, updated_at=99.0),
            "b": EndpointMetrics(waiting_queue_size=5, kv_cache_ratio=0.75, updated_at=98.0),
            "c": EndpointMetrics(waiting_queue_size=90, kv_cache_ratio=1.0, updated_at=97.9),
        },
    )
    store.put_endpoint(endpoint("never-read"))
    probe = MetricsProbe(store)
    probe.refresh_pool(100.0, 2.0)
    assert series(probe, "inference_pool") == {
        'inference_pool_average_kv_cache_utilization{name="p"}': 0.5,
        'inference_pool_average_queue_size{name="p"}': 3,
        'inference_pool_ready_pods{name="p"}': 2,
        'inference_pool_per_pod_queue_size{model_server_pod="a",name="p"}': 2,
        'inference_pool_per_pod_queue_size{model_server_pod="b",name="p"}': 5,
        'inference_pool_per_pod_queue_size{model_server_pod="c",name="p"}': 90,
        'inference_pool_per_pod_queue_size{model_server_pod="never-read",name="p"}': 0,
    }


def test_ready_endpoints_go_to_zero_and_averages_stay() -> None:
    store = pool("p", {"a": EndpointMetrics(waiting_queue_size=4, updated_at=1.0)})
    probe = MetricsProbe(store)
    probe.refresh_pool(1.0, 2.0)
    probe.refresh_pool(10.0, 2.0)
    page = series(probe, "inference_pool")
    assert page['inference_pool_ready_pods{name="p"}'] == 0
    assert page['inference_pool_average_queue_size{name="p"}'] == 4


def test_without_a_pool_the_gauges_stay_and_the_queues_go() -> None:
    store = pool("p", {"a": EndpointMetrics(updated_at=1.0)})
    probe = MetricsProbe(store)
    probe.refresh_pool(1.0, 2.0)
    store.set_pool(None)
    probe.refresh_pool(10.0, 2.0)
    page = series(probe, "inference_pool")
    assert page['inference_pool_ready_pods{name="p"}'] == 1
    assert not [name for name in page if "per_pod" in name]


def test_another_pool_s_name_replaces_the_old_one() -> None:
    store = pool("old", {"a": EndpointMetrics(updated_at=1.0)})
    probe = MetricsProbe(store)
    probe.refresh_pool(1.0, 2.0)
    store.set_pool(Pool(name="new", namespace="ns"))
    probe.refresh_pool(1.0, 2.0)
    assert 'name="old"' not in render(probe.registry)
