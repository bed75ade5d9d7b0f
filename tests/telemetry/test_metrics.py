from __future__ import annotations

from collections.abc import Iterator

from epp.core.endpoint import EndpointMetrics
from epp.core.request import RequestKey, Usage
from epp.datastore.store import Datastore
from epp.telemetry.exposition import render
from epp.telemetry.labels import MAX_SERIES
from epp.telemetry.metrics import MetricsProbe
from epp.telemetry.tee import Probes
from tests.telemetry.worlds import endpoint, pool, series

KEY = RequestKey("m", "t", "alice", 3)
USAGE = Usage(prompt_tokens=7, completion_tokens=10, total_tokens=17, cached_tokens=3)
M = "model_name target_model_name"
MFP = f"{M} fairness_id priority"
PLUGIN = "plugin_name plugin_type"
LOAD = "endpoint_name namespace producer_name fairness_id priority"

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
TTFT = "0.005 0.025 0.05 0.1 0.2 0.4 0.6 0.8 1 1.25 1.5 2 3 4 5 6 8 10 15 20 30 45 60 120"
STPOT = (
    "0.0005 0.00205 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.125 0.15 0.2 0.3 0.4 0.5 0.6 0.8 1 2"
)
ITL = "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.15 0.2 0.3 0.5 0.75 1 2"
REQPROC = "0.0005 0.001 0.002 0.005 0.01 0.015 0.025 0.04 0.06 0.1 0.25 0.5 1 2.5 5 10"
RESPPROC = "0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5"
FCQ = "0.0001 0.0005 0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60"
STREAM = "0.001 0.005 0.01 0.05 0.1 0.5 1 5 10 30 60 120 300 600"
NTPOT = "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10"
SCHED = "0.0001 0.0002 0.0005 0.001 0.002 0.005 0.01 0.02 0.05 0.1"
RATIO = "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"
LAG = "0.0005 0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10"
HITB = "0 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536"
# fmt: on

# name, type, labels, buckets
CATALOGUE = {
    name: (kind, set(labels.split()), bounds.split())
    for name, kind, labels, bounds in [
        ("inference_objective_request_total", "counter", M, ""),
        ("inference_objective_request_error_total", "counter", f"{M} error_code", ""),
        ("inference_objective_request_duration_seconds", "histogram", M, LAT),
        ("inference_objective_request_sizes", "histogram", M, REQSZ),
        ("inference_objective_response_sizes", "histogram", M, RESPSZ),
        ("inference_objective_input_tokens", "histogram", M, TOKIN),
        ("inference_objective_output_tokens", "histogram", M, TOKOUT),
        ("inference_objective_prompt_cached_tokens", "histogram", M, TOKIN),
        ("inference_objective_running_requests", "gauge", "model_name", ""),
        ("inference_objective_normalized_time_per_output_token_seconds", "histogram", M, NTPOT),
        ("inference_pool_average_kv_cache_utilization", "gauge", "name", ""),
        ("inference_pool_average_queue_size", "gauge", "name", ""),
        ("inference_pool_average_running_requests", "gauge", "name", ""),
        ("inference_pool_ready_pods", "gauge", "name", ""),
        ("inference_pool_per_pod_queue_size", "gauge", "name model_server_pod", ""),
        ("inference_extension_scheduler_e2e_duration_seconds", "histogram", "", SCHED),
        (
            "inference_extension_scheduler_attempts_total",
            "counter",
            "status target_model_name pod_name namespace port",
            "",
        ),
        (
            "inference_extension_plugin_duration_seconds",
            "histogram",
            f"extension_point {PLUGIN}",
            SCHED,
        ),
        ("inference_extension_prefix_indexer_size", "gauge", "", ""),
        ("inference_extension_prefix_indexer_hit_ratio", "histogram", "", RATIO),
        ("inference_extension_prefix_indexer_hit_bytes", "histogram", "", HITB),
        ("inference_extension_info", "gauge", "commit build_ref", ""),
        (
            "inference_extension_flow_control_request_queue_duration_seconds",
            "histogram",
            "fairness_id priority outcome",
            FCQ,
        ),
        ("inference_extension_flow_control_queue_size", "gauge", "fairness_id priority", ""),
        ("inference_extension_flow_control_pool_saturation", "gauge", "inference_pool stage", ""),
        (
            "inference_extension_model_rewrite_decisions_total",
            "counter",
            "model_rewrite_name model_name target_model",
            "",
        ),
        ("llm_d_inference_scheduler_datalayer_poll_errors_total", "counter", "source_type", ""),
        (
            "llm_d_inference_scheduler_disagg_decision_total",
            "counter",
            "model_name decision_type",
            "",
        ),
        (
            "llm_d_inference_scheduler_pd_decision_total",
            "counter",
            "model_name decision_type",
            "",
        ),
        (
            "llm_d_epp_disagg_decision_total",
            "counter",
            f"{PLUGIN} model_name decision_type",
            "",
        ),
        ("llm_d_epp_pd_decision_total", "counter", f"{PLUGIN} model_name decision_type", ""),
        (
            "llm_d_inference_scheduler_datalayer_extract_errors_total",
            "counter",
            "source_type extractor_type",
            "",
        ),
        ("llm_d_epp_request_total", "counter", MFP, ""),
        ("llm_d_epp_request_error_total", "counter", f"{MFP} error_code", ""),
        ("llm_d_epp_request_duration_seconds", "histogram", MFP, LAT),
        ("llm_d_epp_request_size_bytes", "histogram", MFP, REQSZ),
        ("llm_d_epp_response_size_bytes", "histogram", MFP, RESPSZ),
        ("llm_d_epp_request_input_tokens", "histogram", MFP, TOKIN),
        ("llm_d_epp_request_output_tokens", "histogram", MFP, TOKOUT),
        ("llm_d_epp_request_cached_tokens", "histogram", MFP, TOKIN),
        ("llm_d_epp_request_running", "gauge", MFP, ""),
        ("llm_d_epp_request_ntpot_seconds", "histogram", MFP, NTPOT),
        ("llm_d_epp_request_ttft_seconds", "histogram", f"{MFP} streaming", TTFT),
        ("llm_d_epp_request_streaming_tpot_seconds", "histogram", MFP, STPOT),
        ("llm_d_epp_request_streaming_itl_seconds", "histogram", MFP, ITL),
        ("llm_d_epp_average_kv_cache_utilization", "gauge", "name", ""),
        ("llm_d_epp_average_queue_size", "gauge", "name", ""),
        ("llm_d_epp_average_running_requests", "gauge", "name", ""),
        ("llm_d_epp_std_dev_kv_cache_utilization", "gauge", "name", ""),
        ("llm_d_epp_std_dev_queue_size", "gauge", "name", ""),
        ("llm_d_epp_std_dev_running_requests", "gauge", "name", ""),
        ("llm_d_epp_ready_endpoints", "gauge", "name", ""),
        ("llm_d_epp_per_endpoint_queue_size", "gauge", "name model_server_endpoint", ""),
        ("llm_d_epp_scheduler_e2e_duration_seconds", "histogram", "", SCHED),
        (
            "llm_d_epp_scheduler_attempts_total",
            "counter",
            "status target_model_name endpoint_name namespace port",
            "",
        ),
        ("llm_d_epp_plugin_duration_seconds", "histogram", f"extension_point {PLUGIN}", SCHED),
        ("llm_d_epp_request_processing_duration_seconds", "histogram", "", REQPROC),
        ("llm_d_epp_response_processing_duration_seconds", "histogram", "", RESPPROC),
        ("llm_d_epp_info", "gauge", "commit build_ref", ""),
        ("llm_d_epp_prefix_indexer_size", "gauge", PLUGIN, ""),
        ("llm_d_epp_prefix_indexer_hit_ratio", "histogram", PLUGIN, RATIO),
        ("llm_d_epp_prefix_indexer_hit_bytes", "histogram", PLUGIN, HITB),
        (
            "llm_d_epp_disaggregatedset_strict_header_no_match_total",
            "counter",
            f"{PLUGIN} selector",
            "",
        ),
        (
            "llm_d_epp_disaggregatedset_revision_gating_share",
            "gauge",
            f"{PLUGIN} mode revision",
            "",
        ),
        ("llm_d_epp_inflight_requests", "gauge", LOAD, ""),
        ("llm_d_epp_inflight_tokens", "gauge", LOAD, ""),
        ("llm_d_epp_encoder_cache_queries_total", "counter", f"{PLUGIN} modality", ""),
        ("llm_d_epp_encoder_cache_hits_total", "counter", f"{PLUGIN} pod modality", ""),
        ("llm_d_epp_encoder_cache_hit_ratio", "histogram", PLUGIN, RATIO),
        ("epp_config_loads_total", "counter", "result", ""),
        ("epp_config_last_load_successful", "gauge", "", ""),
        ("epp_config_last_success_timestamp_seconds", "gauge", "", ""),
        ("llm_d_epp_flow_control_pool_saturation", "gauge", "inference_pool stage", ""),
        ("llm_d_epp_flow_control_stale_endpoints", "gauge", "detector", ""),
        (
            "llm_d_epp_model_rewrite_decisions_total",
            "counter",
            "model_rewrite_name model_name target_model",
            "",
        ),
        ("llm_d_epp_datalayer_poll_errors_total", "counter", "source_type", ""),
        (
            "llm_d_epp_datalayer_extract_errors_total",
            "counter",
            "source_type extractor_type",
            "",
        ),
        ("llm_d_epp_extproc_streams_inflight", "gauge", "", ""),
        ("llm_d_epp_extproc_stream_duration_seconds", "histogram", "", STREAM),
        ("llm_d_epp_extproc_streams_total", "counter", "code", ""),
        ("leader_election_master_status", "gauge", "name", ""),
        ("epp_event_loop_lag_seconds", "histogram", "", LAG),
        ("epp_scrape_interval_seconds", "gauge", "", ""),
        ("epp_plugin_errors_total", "counter", f"extension_point {PLUGIN}", ""),
        ("epp_plugin_overruns_total", "counter", f"extension_point {PLUGIN}", ""),
        ("epp_plugin_set_aside", "gauge", f"extension_point {PLUGIN}", ""),
    ]
}


def full() -> MetricsProbe:
    """A probe that was told everything."""
    store = pool("p", {"a": EndpointMetrics(updated_at=1.0)})
    probe = MetricsProbe(store, stream_metrics=True)
    probe.plugin_timer("Scorer", "queue-scorer", "q")(0.0003)
    probe.scheduled(0.001, "t", endpoint("a"))
    probe.scheduled(0.001, "t", None)
    probe.model_rewritten("r", "m", "t")
    probe.request_routed(KEY, size_bytes=100, seconds=0.001)
    probe.request_refused(0.001)
    probe.request_failed(KEY, "Internal")
    probe.running_changed(KEY, 1)
    probe.gap_timer(KEY)(0.01)
    for is_streaming in (True, False):
        probe.response_complete(
            KEY,
            seconds=2.0,
            first_byte_seconds=0.5,
            handling_seconds=None if is_streaming else 0.1,
            size_bytes=70,
            is_streaming=is_streaming,
            usage=USAGE,
        )
    probe.prefix_matched("prefix-cache-scorer", "x", 3, 4, 64)
    probe.prefix_index_sized("prefix-cache-scorer", "x", 12)
    probe.disaggregated("disagg-profile-handler", "x", "t", "prefill-decode")
    probe.pin_unmatched("disaggregatedset-rollout-screener", "x", "revision")
    probe.revisions_weighed("disaggregatedset-rollout-screener", "x", "sum", {"r1": 1.0})
    probe.load_gauge("inflight-load-producer", endpoint("a"), "alice", 3)(1, 100)
    probe.media_sought("mm-embeddings-cache-producer", "x", "image", [endpoint("a")])
    probe.media_matched("mm-embeddings-cache-producer", "x", 1, 2)
    probe.config_loaded(True)
    probe.saturation_measured("utilization-detector", 0.5, 1)
    probe.poll_failed("metrics-data-source")
    probe.extract_failed("metrics-data-source", "core-metrics-extractor")
    probe.flow.queue_seconds[("alice", "3", "Dispatched")].observe(0.1)
    probe.flow.queue_sizes[("alice", "3")].value += 1
    probe.loop_lagged(0.25)
    probe.set_leader("lease", True)
    probe.refresh_pool(1.0, 2.0)
    assert probe.streams is not None
    probe.streams.opened()
    probe.streams.ended(0, 1.0)
    return probe


def families(page: str) -> Iterator[tuple[str, str, set[str], list[str]]]:
    """Name, type, labels and bounds of what is on the page, but for the process's own."""
    for family in page.split("# HELP ")[1:]:
        _help, head, *lines = family.splitlines()
        _, _, name, kind = head.split()
        if name.startswith("process_"):
            continue
        labels = [dict(pair.split("=") for pair in _labels(line)) for line in lines]
        (names,) = {frozenset(pairs) - {"le"} for pairs in labels}
        bounds = dict.fromkeys(pairs["le"].strip('"') for pairs in labels if "le" in pairs)
        yield name, kind, set(names), list(bounds)


def _labels(line: str) -> list[str]:
    inside = line[line.index("{") + 1 : line.rindex("}")] if "{" in line else ""
    return inside.split(",") if inside else []


def test_checklist_10_the_catalogue_has_upstream_s_names_types_labels_and_buckets() -> None:
    page = render(full().registry)
    found = {name: (kind, labels, bounds) for name, kind, labels, bounds in families(page)}
    expected = {
        name: (kind, labels, [*bounds, "+Inf"] if kind == "histogram" else [])
        for name, (kind, labels, bounds) in CATALOGUE.items()
    }
    assert found == expected
    assert "_created" not in page
    assert "process_resident_memory_bytes" in page
    helps = [line for line in page.splitlines() if line.startswith("# HELP")]
    assert all(" [ALPHA] " in line or "HELP process_" in line for line in helps)


def test_every_family_that_is_registered_is_in_the_catalogue() -> None:
    registered = {
        metric.name + "_total" * (metric.type == "counter") for metric in full().registry.collect()
    }
    assert {name for name in registered if not name.startswith("process_")} == set(CATALOGUE)


def test_streams_are_counted_only_for_those_who_ask() -> None:
    probe = MetricsProbe(Datastore())
    assert probe.streams is None
    assert series(probe.registry, "llm_d_epp_extproc") == {}


def test_the_build_the_leader_and_the_lag_are_told() -> None:
    probe = MetricsProbe(Datastore(), commit="c0ffee", build_ref="v1")
    probe.loop_lagged(0.25)
    probe.set_leader("lease", True)
    probe.set_leader("lease", False)
    page = series(probe.registry)
    for prefix in ("inference_extension", "llm_d_epp"):
        assert page[f'{prefix}_info{{build_ref="v1",commit="c0ffee"}}'] == 1
    assert page["epp_event_loop_lag_seconds_sum"] == 0.25
    assert page['leader_election_master_status{name="lease"}'] == 0


def test_a_report_takes_no_detour() -> None:
    probe = MetricsProbe(Datastore())
    assert Probes(probe).request_routed == probe.request_routed
    assert "request_routed" in vars(probe)
    assert Probes(probe).plugin_timer == probe.plugin_timer


def test_models_can_be_pinned_at_any_time() -> None:
    probe = MetricsProbe(Datastore())
    for number in range(MAX_SERIES):
        probe.request_routed(RequestKey(f"m{number}", "t"), size_bytes=1, seconds=0.0)

    def requests(model: str) -> float | None:
        labels = f'{{model_name="{model}",target_model_name="{model}"}}'
        name = f"inference_objective_request_total{labels}"
        return series(probe.registry).get(name)

    key = RequestKey("pinned" * 30, "pinned" * 30)
    probe.request_routed(key, size_bytes=1, seconds=0.0)
    assert requests("other") == 1
    probe.pin_models([key.model])
    probe.request_routed(key, size_bytes=1, seconds=0.0)
    assert requests("other") == 1
    assert requests(key.model[:128]) == 1
