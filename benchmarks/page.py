"""A vLLM metrics page of realistic size whose numbers differ at every read."""

from __future__ import annotations

import random
import re
from pathlib import Path

_TEMPLATE = Path(__file__).with_name("vllm-metrics.txt")
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?P<labels>\{.*\})? (?P<value>\S+)$")
# Constant on a real page, too.
_CONSTANT = re.compile(r"_created$|_info$|sleep_state$")


class MetricsPage:
    """The page of one endpoint. Load stays low, so that no request is held back."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.reads = 0
        parts: list[str] = []
        self._base: list[float] = []
        self._moving: list[int] = []
        waiting = running = kv_cache = -1
        for line in _TEMPLATE.read_text().splitlines():
            sample = _SAMPLE.match(line)
            if sample is None or _CONSTANT.search(sample["name"]):
                parts.append(line.replace("%", "%%"))
                continue
            parts.append(line[: sample.start("value")].replace("%", "%%") + "%s")
            match sample["name"]:
                case "vllm:num_requests_waiting":
                    waiting = len(self._base)
                case "vllm:num_requests_running":
                    running = len(self._base)
                case "vllm:kv_cache_usage_perc":
                    kv_cache = len(self._base)
            self._base.append(float(sample["value"]))
        self._template = "\n".join(parts) + "\n"
        self._waiting, self._running, self._kv_cache = waiting, running, kv_cache

    def read(self) -> bytes:
        """The page now: counters have grown, gauges have moved."""
        self.reads += 1
        numbers = [value + self.reads for value in self._base]
        numbers[self._waiting] = float(self._random.randrange(4))
        numbers[self._running] = float(self._random.randrange(1, 17))
        numbers[self._kv_cache] = 0.5 * self._random.random()
        return (self._template % tuple(numbers)).encode()
