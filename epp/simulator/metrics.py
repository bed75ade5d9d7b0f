"""What a model server reports about itself on ``/metrics``.

The KV usage has two names, ``vllm:kv_cache_usage_perc`` and the older
``vllm:gpu_cache_usage_perc``; both are always there, because the default flags of older pickers
look for the old one.

Source: llm-d-inference-sim v0.7.1, metrics; the two prefix-cache counters are of later releases.
Differs: requests that the client gave up count as ``abort``; of the series about adapters the
newest comes first, so that a reader which breaks ties by order finds the present.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from epp.simulator.exposition import Histogram, head, label_text, sample
from epp.simulator.fakemetrics import FakeMetrics
from epp.simulator.families import HELP, Family, bounds
from epp.simulator.options import Options
from epp.simulator.text import FinishReason

_KV_USAGE = "Fraction of KV-cache blocks currently in use (from 0 to 1)."


class Gauges(msgspec.Struct, frozen=True):
    """What is true at the moment of a scrape."""

    running: int = 0
    waiting: int = 0
    kv_cache_ratio: float = 0.0


class Metrics:
    """All series of one model server."""

    def __init__(self, options: Options) -> None:
        self._labels = {"model_name": options.aliases[0]}
        self._max_loras = options.max_loras
        self._cache = {
            "block_size": str(options.block_size),
            "num_gpu_blocks": str(options.kv_cache_size),
        }
        labels = label_text(self._labels)
        self.histograms = {
            family: Histogram(family, labels, bounds(family, options.max_model_len))
            for family in Family
        }
        self._loras: dict[tuple[str, str], float] = {}
        self.finished: dict[str, int] = {}
        self.prompt_tokens = self.generation_tokens = 0
        self.prefix_queried_tokens = self.prefix_hit_tokens = 0

    def observe(self, family: Family, value: float) -> None:
        """Count one value in a histogram."""
        self.histograms[family].observe(value)

    def loras_changed(self, running: Sequence[str], waiting: Sequence[str], at: float) -> None:
        """Note which adapters run and wait; ``at`` is Unix time, of which whole seconds count."""
        pair = ",".join(running), ",".join(waiting)
        self._loras.pop(pair, None)
        self._loras[pair] = at

    def count_finished(self, reason: FinishReason) -> None:
        """Count an answered, or given up, request."""
        self.finished[reason] = self.finished.get(reason, 0) + 1

    def count_tokens(self, prompt: int, generated: int, max_tokens: int | None) -> None:
        """Count the tokens of an answered request."""
        self.prompt_tokens += prompt
        self.generation_tokens += generated
        self.observe(Family.PROMPT_TOKENS, prompt)
        self.observe(Family.GENERATION_TOKENS, generated)
        self.observe(Family.MAX_GENERATION_TOKENS, generated)
        if max_tokens is not None:
            self.observe(Family.PARAMS_MAX_TOKENS, max_tokens)

    def page(self, gauges: Gauges) -> bytes:
        """The text exposition; families without an observation are absent."""
        lines = [*self._gauge_lines(gauges), *self._counter_lines()]
        for family, histogram in self.histograms.items():
            if any(histogram.counts):
                lines += head(family, "histogram", HELP[family])
                lines += histogram.lines()
        return ("\n".join(lines) + "\n").encode()

    def _gauge_lines(self, gauges: Gauges) -> Iterator[str]:
        labels = label_text(self._labels)
        for name, value, explanation in (
            ("vllm:num_requests_running", gauges.running, "Number of running requests."),
            ("vllm:num_requests_waiting", gauges.waiting, "Number of queued requests."),
            ("vllm:kv_cache_usage_perc", gauges.kv_cache_ratio, _KV_USAGE),
            ("vllm:gpu_cache_usage_perc", gauges.kv_cache_ratio, _KV_USAGE),
        ):
            yield from head(name, "gauge", explanation)
            yield sample(name, labels, value)
        name = "vllm:cache_config_info"
        yield from head(name, "gauge", "Information of the LLMEngine CacheConfig.")
        yield sample(name, label_text(self._cache), 1)
        name = "vllm:lora_requests_info"
        yield from head(name, "gauge", "Running stats on lora requests.")
        for (running, waiting), at in reversed(self._loras.items()):
            pair = {
                "max_lora": str(self._max_loras),
                "running_lora_adapters": running,
                "waiting_lora_adapters": waiting,
            }
            yield sample(name, label_text(pair), int(at))

    def _counter_lines(self) -> Iterator[str]:
        labels = label_text(self._labels)
        for name, value, explanation in (
            ("vllm:prompt_tokens_total", self.prompt_tokens, "Prompt tokens processed."),
            ("vllm:generation_tokens_total", self.generation_tokens, "Generated tokens."),
            ("vllm:prefix_cache_queries_total", self.prefix_queried_tokens, "Tokens looked up."),
            ("vllm:prefix_cache_hits_total", self.prefix_hit_tokens, "Tokens found in the cache."),
        ):
            if value:
                yield from head(name, "counter", explanation)
                yield sample(name, labels, value)
        name = "vllm:request_success_total"
        if self.finished:
            yield from head(name, "counter", "Count of successfully processed requests.")
        for reason, count in self.finished.items():
            yield sample(name, label_text({"finish_reason": reason, **self._labels}), count)


def fake_page(options: Options, fake: FakeMetrics) -> bytes:
    """The page of a model server that is told what to report.

    An observation counts with its bucket's upper bound, beyond the last one with that plus one.
    """
    metrics = Metrics(options)
    for lora in sorted(fake.loras, key=lambda lora: lora.timestamp):
        metrics.loras_changed([lora.running], [lora.waiting], lora.timestamp)
    if not fake.loras:
        metrics.loras_changed([], [], 0)
    for family, counts in _fake_counts(fake).items():
        histogram = metrics.histograms[family]
        values = (*histogram.bounds, histogram.bounds[-1] + 1)
        for index, count in enumerate(counts[: len(values)]):
            histogram.counts[index] = count
            histogram.total += count * values[index]
    metrics.finished.update(fake.request_success_total)
    metrics.prompt_tokens = fake.total_prompt_tokens
    metrics.generation_tokens = fake.total_generation_tokens
    gauges = Gauges(fake.running_requests, fake.waiting_requests, fake.kv_cache_usage)
    return metrics.page(gauges)


def _fake_counts(fake: FakeMetrics) -> Mapping[Family, Sequence[int]]:
    return {
        Family.TIME_TO_FIRST_TOKEN: fake.ttft_buckets_values,
        Family.TIME_PER_OUTPUT_TOKEN: fake.tpot_buckets_values,
        Family.INTER_TOKEN_LATENCY: fake.tpot_buckets_values,
        Family.E2E_LATENCY: fake.e2erl_buckets_values,
        Family.QUEUE_TIME: fake.queue_time_buckets_values,
        Family.INFERENCE_TIME: fake.inf_time_buckets_values,
        Family.PREFILL_TIME: fake.prefill_time_buckets_values,
        Family.DECODE_TIME: fake.decode_time_buckets_values,
        Family.PROMPT_TOKENS: fake.request_prompt_tokens,
        Family.GENERATION_TOKENS: fake.request_generation_tokens,
        Family.MAX_GENERATION_TOKENS: fake.request_max_generation_tokens,
        Family.PARAMS_MAX_TOKENS: fake.request_params_max_tokens,
    }
