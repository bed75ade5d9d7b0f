"""What the flags of the simulator mean: names, defaults and bounds.

Source: llm-d-inference-sim v0.7.1, configuration.
Differs: ``--enable-kvcache`` does without the environment variable POD_IP, since no KV-cache events
are published; a wrong value ends the process with a non-zero status.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta

from epp.simulator.fakemetrics import FakeMetrics

Nanoseconds = NewType("Nanoseconds", int)
_NONE = Nanoseconds(0)

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Percent = Annotated[int, Meta(ge=0, le=100)]


class Mode(StrEnum):
    """What is answered: invented sentences or the prompt."""

    RANDOM = "random"
    ECHO = "echo"


class LatencyCalculator(StrEnum):
    """Which flags make the time to first token; by default those that are set."""

    AUTOMATIC = ""
    CONSTANT = "constant"
    PER_TOKEN = "per-token"


class FailureType(StrEnum):
    """A failure that can be injected."""

    RATE_LIMIT = "rate_limit"
    INVALID_API_KEY = "invalid_api_key"
    CONTEXT_LENGTH = "context_length"
    SERVER_ERROR = "server_error"
    INVALID_REQUEST = "invalid_request"
    MODEL_NOT_FOUND = "model_not_found"


class LoraModule(msgspec.Struct, frozen=True):
    """One adapter of ``--lora-modules``."""

    name: Annotated[str, Meta(min_length=1)]
    path: str = ""
    base_model_name: str = ""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One field per flag; ``-`` in a flag's name is ``_`` here."""

    model: str = ""
    host: str = "0.0.0.0"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    replicas: Positive = 1
    config: str = ""
    v: NotNegative = 2
    served_model_name: tuple[str, ...] = ()
    lora_modules: tuple[LoraModule, ...] = ()
    max_loras: Positive = 1
    max_cpu_loras: NotNegative = 0
    max_model_len: Positive = 1024
    max_num_seqs: Positive = 5
    max_waiting_queue_length: Positive = 1000
    mode: Mode = Mode.RANDOM
    seed: int | None = None
    time_to_first_token: Nanoseconds = _NONE
    time_to_first_token_std_dev: Nanoseconds = _NONE
    inter_token_latency: Nanoseconds = _NONE
    inter_token_latency_std_dev: Nanoseconds = _NONE
    kv_cache_transfer_latency: Nanoseconds = _NONE
    kv_cache_transfer_latency_std_dev: Nanoseconds = _NONE
    prefill_overhead: Nanoseconds = _NONE
    prefill_time_per_token: Nanoseconds = _NONE
    prefill_time_std_dev: Nanoseconds = _NONE
    kv_cache_transfer_time_per_token: Nanoseconds = _NONE
    kv_cache_transfer_time_std_dev: Nanoseconds = _NONE
    time_factor_under_load: Annotated[float, Meta(ge=1)] = 1.0
    latency_calculator: LatencyCalculator = LatencyCalculator.AUTOMATIC
    enable_kvcache: bool = False
    kv_cache_size: NotNegative = 1024
    block_size: Literal[8, 16, 32, 64, 128] = 16
    global_cache_hit_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0
    hash_seed: str = ""
    failure_injection_rate: Percent = 0
    failure_types: tuple[FailureType, ...] = ()
    fake_metrics: FakeMetrics | None = None
    enable_sleep_mode: bool = False
    enable_request_id_headers: bool = False
    data_parallel_size: Annotated[int, Meta(ge=1, le=8)] = 1
    data_parallel_rank: Annotated[int, Meta(ge=-1, le=7)] = -1
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    self_signed_certs: bool = False
    max_tool_call_integer_param: int = 100
    min_tool_call_integer_param: int = 0
    max_tool_call_number_param: float = 100
    min_tool_call_number_param: float = 0
    max_tool_call_array_param_length: NotNegative = 5
    min_tool_call_array_param_length: NotNegative = 1
    tool_call_not_required_param_probability: Percent = 50
    object_tool_call_not_required_field_probability: Percent = 50
    tokenizers_cache_dir: str = ""
    zmq_endpoint: str = "tcp://localhost:5557"
    zmq_max_connect_attempts: Annotated[int, Meta(ge=0, le=10)] = 0
    event_batch_size: Positive = 16
    dataset_path: str = ""
    dataset_url: str = ""
    dataset_in_memory: bool = False

    @property
    def aliases(self) -> tuple[str, ...]:
        """The names under which the base model is served; the first one is displayed."""
        return self.served_model_name or (self.model,)

    @property
    def servers(self) -> int:
        """How many model servers this process hosts, on neighbouring ports."""
        ranks = self.data_parallel_size if self.data_parallel_rank < 0 else 1
        return max(self.replicas, ranks)


WITHOUT_EFFECT = (
    "max_tool_call_integer_param",
    "min_tool_call_integer_param",
    "max_tool_call_number_param",
    "min_tool_call_number_param",
    "max_tool_call_array_param_length",
    "min_tool_call_array_param_length",
    "tool_call_not_required_param_probability",
    "object_tool_call_not_required_field_probability",
    "tokenizers_cache_dir",
    "zmq_endpoint",
    "zmq_max_connect_attempts",
    "event_batch_size",
    "dataset_path",
    "dataset_url",
    "dataset_in_memory",
)
"""Fields whose flags are read and checked, and then change nothing."""

_SPREADS = (
    ("time_to_first_token", "time_to_first_token_std_dev"),
    ("inter_token_latency", "inter_token_latency_std_dev"),
    ("kv_cache_transfer_latency", "kv_cache_transfer_latency_std_dev"),
    ("prefill_time_per_token", "prefill_time_std_dev"),
    ("kv_cache_transfer_time_per_token", "kv_cache_transfer_time_std_dev"),
)
_LARGEST_SPREAD_PERCENT = 30
_LAST_PORT = 65535


def flag_name(field: str) -> str:
    """How a field is spelled on the command line."""
    return field.replace("_", "-")


def check(options: Options) -> list[str]:
    """What is wrong with values that are fine each by itself."""
    problems = []
    if not options.model:
        problems.append("--model: a name is required")
    for mean, spread in _SPREADS:
        largest = getattr(options, mean) * _LARGEST_SPREAD_PERCENT
        if getattr(options, spread) * 100 > largest:
            problems.append(f"--{flag_name(spread)}: at most 30% of --{flag_name(mean)}")
    problems += _check_bounds(options)
    problems += _check_combinations(options)
    if options.port + options.servers - 1 > _LAST_PORT:
        problems.append("--port: there are not enough ports above it")
    return problems


def _check_bounds(options: Options) -> Sequence[str]:
    problems = []
    for kind in ("integer_param", "number_param", "array_param_length"):
        low, high = f"min_tool_call_{kind}", f"max_tool_call_{kind}"
        if getattr(options, low) > getattr(options, high):
            problems.append(f"--{flag_name(low)}: larger than --{flag_name(high)}")
    if options.max_cpu_loras and options.max_cpu_loras < options.max_loras:
        problems.append("--max-cpu-loras: less than --max-loras")
    problems += [
        f"--lora-modules: {lora.name}: base_model_name differs from --model"
        for lora in options.lora_modules
        if lora.base_model_name not in ("", options.model)
    ]
    return problems


def _check_combinations(options: Options) -> Sequence[str]:
    problems = []
    if bool(options.ssl_certfile) != bool(options.ssl_keyfile):
        problems.append("--ssl-certfile and --ssl-keyfile: both or none")
    if options.self_signed_certs and options.ssl_certfile:
        problems.append("--self-signed-certs: excludes --ssl-certfile")
    if options.dataset_url and not options.dataset_path:
        problems.append("--dataset-url: needs --dataset-path")
    if options.mode is Mode.ECHO and (options.dataset_path or options.dataset_url):
        problems.append("--dataset-path: not with --mode echo")
    if options.replicas > 1 and options.data_parallel_size > 1:
        problems.append("--replicas: not with --data-parallel-size")
    return problems
