"""How long a request takes.

With n running requests (this one included) every time is multiplied by
f = 1 + (time-factor-under-load - 1) * (n - 1) / (max-num-seqs - 1), except the time of a KV-cache
transfer. N(mean, std-dev) is a bell curve within 0.3 and 1.7 times the mean.

Source: llm-d-inference-sim v0.7.1, latency calculators.
"""

from __future__ import annotations

from random import Random

from epp.simulator.options import LatencyCalculator, Nanoseconds, Options

_NANOSECONDS_PER_MILLISECOND = 1_000_000
_LOWEST, _HIGHEST = 0.3, 1.7


class LatencyModel:
    """Draws delays, in whole milliseconds as the original does: 500us is no delay."""

    def __init__(self, options: Options, random: Random) -> None:
        self._options = options
        self._random = random
        self._prefill_is_constant = _is_constant(
            options.latency_calculator,
            options.time_to_first_token,
            options.time_to_first_token_std_dev,
        )
        self._transfer_is_constant = _is_constant(
            options.latency_calculator,
            options.kv_cache_transfer_latency,
            options.kv_cache_transfer_latency_std_dev,
        )
        self.depends_on_load = options.time_factor_under_load > 1 and options.max_num_seqs > 1

    def time_to_first_token_ms(self, prompt_tokens: int, cached_tokens: int, running: int) -> int:
        """The delay of the prefill phase; tokens found in the KV cache cost nothing."""
        options, factor = self._options, self._load_factor(running)
        if self._prefill_is_constant:
            mean = factor * options.time_to_first_token
            return self._draw_ms(mean, options.time_to_first_token_std_dev)
        uncached_tokens = prompt_tokens - cached_tokens
        mean = factor * (
            options.prefill_overhead + uncached_tokens * options.prefill_time_per_token
        )
        return self._draw_ms(mean, options.prefill_time_std_dev)

    def kv_transfer_ms(self, prompt_tokens: int) -> int:
        """The delay in place of the prefill phase when another model server did the prefill."""
        options = self._options
        if self._transfer_is_constant:
            mean = options.kv_cache_transfer_latency
            return self._draw_ms(mean, options.kv_cache_transfer_latency_std_dev)
        return self._draw_ms(
            prompt_tokens * options.kv_cache_transfer_time_per_token,
            options.kv_cache_transfer_time_std_dev,
        )

    def inter_token_ms(self, running: int) -> int:
        """The delay between two tokens, drawn anew for each."""
        mean = self._load_factor(running) * self._options.inter_token_latency
        return self._draw_ms(mean, self._options.inter_token_latency_std_dev)

    def _load_factor(self, running: int) -> float:
        if not self.depends_on_load:
            return 1.0
        options = self._options
        share = (running - 1) / (options.max_num_seqs - 1)
        return 1 + (options.time_factor_under_load - 1) * share

    def _draw_ms(self, mean: float, std_dev: Nanoseconds) -> int:
        mean_ms = int(mean) // _NANOSECONDS_PER_MILLISECOND
        std_dev_ms = std_dev // _NANOSECONDS_PER_MILLISECOND
        if not std_dev_ms:
            return mean_ms
        drawn = self._random.gauss(mean_ms, std_dev_ms)
        return int(min(max(drawn, _LOWEST * mean_ms), _HIGHEST * mean_ms))


def _is_constant(calculator: LatencyCalculator, mean: Nanoseconds, std_dev: Nanoseconds) -> bool:
    """Whether the fixed time counts, rather than the time per token."""
    if calculator is LatencyCalculator.AUTOMATIC:
        return mean != 0 or std_dev != 0
    return calculator is LatencyCalculator.CONSTANT
