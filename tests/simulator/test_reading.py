import pytest

from epp.simulator.flags import parse_arguments
from epp.simulator.options import FailureType, LoraModule, Options, flag_name
from epp.simulator.reading import OptionsError, flag_kinds, read_options, usage
from tests.simulator.fakes import ISTIO, MODEL, options


def test_the_documented_arguments_are_read() -> None:
    read = options(*ISTIO)
    assert (read.model, read.port, read.max_loras) == (MODEL, 8000, 2)
    assert read.lora_modules == (LoraModule("reviews-1"),)
    assert read.aliases == (MODEL,)


def test_every_kind_of_value_is_read() -> None:
    read = options(
        *("--model", "m", "--served-model-name", "a", "b", "--time-to-first-token", "1.5s"),
        *("--time-factor-under-load", "1.5", "--enable-kvcache", "--block-size=32", "--seed", "-3"),
        *("--failure-types", "rate_limit", "server_error", "--lora-modules", "x=/path"),
        *("--fake-metrics", '{"running-requests": 3, "loras": [{"running": "x"}]}'),
    )
    assert read.aliases == ("a", "b")
    assert read.time_to_first_token == 1_500_000_000
    assert (read.time_factor_under_load, read.enable_kvcache, read.block_size) == (1.5, True, 32)
    assert read.seed == -3
    assert read.failure_types == (FailureType.RATE_LIMIT, FailureType.SERVER_ERROR)
    assert read.lora_modules == (LoraModule("x", "/path"),)
    assert read.fake_metrics is not None
    assert read.fake_metrics.running_requests == 3


def test_the_hash_seed_falls_back_to_the_environment() -> None:
    flags = parse_arguments(["--model", "m"], flag_kinds())
    assert read_options(flags, {"PYTHONHASHSEED": "9"}).hash_seed == "9"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--port x", "--port: "),
        ("--port 0", "--port: "),
        ("--max-loras 0", "--max-loras: "),
        ("--max-num-seqs 0", "--max-num-seqs: "),
        ("--max-waiting-queue-length 0", "--max-waiting-queue-length: "),
        ("--max-model-len 0", "--max-model-len: "),
        ("--mode other", "--mode: "),
        ("--block-size 7", "--block-size: "),
        ("--time-to-first-token -1s", "--time-to-first-token: "),
        ("--time-to-first-token 10 --time-to-first-token-std-dev 4", "at most 30%"),
        ("--prefill-time-std-dev 4", "at most 30%"),
        ("--time-factor-under-load 0.5", "--time-factor-under-load: "),
        ("--time-factor-under-load nan", "--time-factor-under-load: "),
        ("--time-factor-under-load inf", "a finite number"),
        ("--global-cache-hit-threshold 1.1", "--global-cache-hit-threshold: "),
        ("--failure-injection-rate 101", "--failure-injection-rate: "),
        ("--failure-types other", "--failure-types: "),
        ("--fake-metrics {", "--fake-metrics: "),
        ('--fake-metrics {"kv-cache-usage":2}', "--fake-metrics: "),
        ('--lora-modules {"path":"x"}', "--lora-modules: "),
        ('--lora-modules {"name":"x","base_model_name":"y"}', "base_model_name"),
        ("--max-loras 2 --max-cpu-loras 1", "--max-cpu-loras: "),
        ("--min-tool-call-integer-param 101", "--min-tool-call-integer-param: "),
        ("--latency-calculator other", "--latency-calculator: "),
        ("--zmq-max-connect-attempts 11", "--zmq-max-connect-attempts: "),
        ("--data-parallel-size 9", "--data-parallel-size: "),
        ("--data-parallel-size 2 --replicas 2", "--replicas: "),
        ("--port 65535 --replicas 2", "--port: "),
        ("--ssl-certfile x", "both or none"),
        ("--ssl-certfile x --ssl-keyfile x --self-signed-certs", "--self-signed-certs: "),
        ("--dataset-url x", "--dataset-url: "),
        ("--mode echo --dataset-path x", "--dataset-path: "),
        ("--enable-kvcache=perhaps", "--enable-kvcache: "),
        ("--model=", "--model: "),
    ],
)
def test_wrong_values_are_refused_by_name(arguments: str, problem: str) -> None:
    with pytest.raises(OptionsError) as refused:
        options("--model", "m", *arguments.split())
    assert len(refused.value.problems) == 1
    assert problem in refused.value.problems[0]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(OptionsError) as refused:
        options("--port", "x", "--max-loras", "0", "--seed")
    assert len(refused.value.problems) == 3


def test_help_names_every_flag() -> None:
    shown = usage()
    assert all(f"--{flag_name(field)}" in shown for field in Options.__struct_fields__)
