from prometheus_client.parser import text_string_to_metric_families

from epp.simulator.families import Family
from epp.simulator.metrics import Gauges, Metrics, fake_page
from epp.simulator.text import FinishReason
from tests.simulator.fakes import options

Page = dict[str, list[tuple[dict[str, str], float]]]
ALWAYS = {
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:cache_config_info",
}


def metrics(*arguments: str) -> Metrics:
    return Metrics(options("--model", "m", *arguments))


def read(page: bytes) -> Page:
    samples: Page = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def test_gauges_are_there_from_the_start_and_nothing_else_is() -> None:
    assert set(read(metrics().page(Gauges()))) == ALWAYS


def test_gauges_carry_the_present_and_the_first_served_name() -> None:
    page = read(metrics("--served-model-name", "a", "b").page(Gauges(2, 3, 0.25)))
    assert page["vllm:num_requests_running"] == [({"model_name": "a"}, 2)]
    assert page["vllm:num_requests_waiting"] == [({"model_name": "a"}, 3)]
    assert page["vllm:kv_cache_usage_perc"] == page["vllm:gpu_cache_usage_perc"]
    assert page["vllm:kv_cache_usage_perc"] == [({"model_name": "a"}, 0.25)]
    cache = {"block_size": "16", "num_gpu_blocks": "1024"}
    assert page["vllm:cache_config_info"] == [(cache, 1)]


def test_the_newest_state_of_adapters_comes_first_and_pairs_are_not_repeated() -> None:
    table = metrics("--max-loras", "2")
    for running, waiting in (([], []), (["a", "b"], ["c"]), ([], [])):
        table.loras_changed(running, waiting, 1763493214.7)
    series = read(table.page(Gauges()))["vllm:lora_requests_info"]
    assert [labels["running_lora_adapters"] for labels, _ in series] == ["", "a,b"]
    assert series[1][0]["waiting_lora_adapters"] == "c"
    assert {(labels["max_lora"], value) for labels, value in series} == {("2", 1763493214)}


def test_observed_values_fall_into_their_buckets() -> None:
    table = metrics()
    for value in (0.001, 0.0011, 9999):
        table.observe(Family.TIME_TO_FIRST_TOKEN, value)
    page = read(table.page(Gauges()))
    buckets = {
        labels["le"]: value for labels, value in page[f"{Family.TIME_TO_FIRST_TOKEN}_bucket"]
    }
    assert (buckets["0.001"], buckets["0.005"], buckets["2560"], buckets["+Inf"]) == (1, 2, 2, 3)
    assert page[f"{Family.TIME_TO_FIRST_TOKEN}_count"] == [({"model_name": "m"}, 3)]


def test_token_buckets_end_at_the_context_length() -> None:
    bounds = metrics("--max-model-len", "300").histograms[Family.PROMPT_TOKENS].bounds
    assert list(bounds) == [1, 2, 5, 10, 20, 50, 100, 200]


def test_answers_are_counted() -> None:
    table = metrics()
    table.count_tokens(10, 40, None)
    table.count_tokens(10, 4, 5)
    table.count_finished(FinishReason.STOP)
    table.count_finished(FinishReason.STOP)
    page = read(table.page(Gauges()))
    assert page["vllm:prompt_tokens_total"][0][1] == 20
    assert page["vllm:generation_tokens_total"][0][1] == 44
    assert page["vllm:request_params_max_tokens_count"][0][1] == 1
    labels = {"finish_reason": "stop", "model_name": "m"}
    assert page["vllm:request_success_total"] == [(labels, 2)]


def test_labels_are_escaped() -> None:
    page = Metrics(options("--model", 'a"\\\nb')).page(Gauges())
    assert read(page)["vllm:num_requests_running"][0][0] == {"model_name": 'a"\\\nb'}


def test_a_told_page_reports_what_it_is_told() -> None:
    chosen = options(
        *("--model", "m", "--max-model-len", "5", "--fake-metrics"),
        """{"running-requests": 3, "waiting-requests": 4, "kv-cache-usage": 0.5,
            "loras": [{"running": "a,b", "waiting": "", "timestamp": 7}],
            "ttft-buckets-values": [1, 2], "request-params-max-tokens": [0, 0, 0, 1],
            "request-success-total": {"stop": 9}, "total-prompt-tokens": 11}""",
    )
    assert chosen.fake_metrics is not None
    page = read(fake_page(chosen, chosen.fake_metrics))
    assert page["vllm:num_requests_running"][0][1] == 3
    assert page["vllm:num_requests_waiting"][0][1] == 4
    assert page["vllm:gpu_cache_usage_perc"][0][1] == 0.5
    assert [value for _, value in page["vllm:lora_requests_info"]] == [7]
    assert page["vllm:time_to_first_token_seconds_sum"][0][1] == 0.001 + 2 * 0.005
    assert page["vllm:request_params_max_tokens_sum"][0][1] == 6
    assert page["vllm:request_success_total"][0][1] == 9
    assert page["vllm:prompt_tokens_total"][0][1] == 11
    assert "vllm:request_generation_tokens_count" not in page
