"""What is counted for each model, each flow and each priority: requests, answers, tokens.

Theory of operation
-------------------
A request is counted once, in the record of its model, target, fairness id and priority. The newer
families are these records; an older family, which knows only the models, is made when the page is:
its series are sums of the records of a pair of models.

Differs: the older families are fed like the newer ones, by answers that are streamed or no JSON
too, with their real size; upstream observes 0 for the former and nothing for the latter, and
measures its own spelling of a request, not the client's.

Source: gateway-api-inference-extension 2aaf2a6 and llm-d-router v0.10, pkg/epp/metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry

from epp.core.probe import Probe, Timer
from epp.core.request import RequestKey, Usage
from epp.telemetry import buckets
from epp.telemetry.exposition import spell_labels
from epp.telemetry.histogram import Histograms, HistogramSeries, add_up
from epp.telemetry.numbers import Numbers
from epp.telemetry.records import Record, Records

# Errors that have another name in the newer families.
_NEW_CODES = {"InferencePoolResourceExhausted": "ResourceExhausted"}

_Part: TypeAlias = Callable[[Record], HistogramSeries]


class RequestMetrics(Probe):
    """The families of requests and their answers; names in ``pinned`` are never ``other``."""

    def __init__(self, registry: CollectorRegistry, pinned: Collection[str]) -> None:
        self._records = Records(pinned)
        self._handling = HistogramSeries(buckets.REQUEST_HANDLING)
        self._response_handling = HistogramSeries(buckets.RESPONSE_HANDLING)
        for family in chain(self._numbers(), self._histograms(), self._unlabelled()):
            registry.register(family)

    def request_routed(self, key: RequestKey, *, size_bytes: int, seconds: float) -> None:
        record = self._records[key]
        record.requests += 1
        record.request_bytes.observe(size_bytes)
        self._handling.observe(seconds)

    def request_refused(self, seconds: float) -> None:
        self._handling.observe(seconds)

    def request_failed(self, key: RequestKey, code: str) -> None:
        errors = self._records[key].errors
        errors[code] = errors.get(code, 0) + 1

    def running_changed(self, key: RequestKey, change: int) -> None:
        self._records[key].running += change

    def gap_timer(self, key: RequestKey) -> Timer:
        return self._records[key].chunk_gaps.observe

    def response_complete(
        self,
        key: RequestKey,
        *,
        seconds: float,
        first_byte_seconds: float | None,
        handling_seconds: float | None,
        size_bytes: int,
        is_streaming: bool,
        usage: Usage | None,
    ) -> None:
        record = self._records[key]
        record.seconds.observe(seconds)
        record.response_bytes.observe(size_bytes)
        if first_byte_seconds is not None:
            record.first_byte_seconds[is_streaming].observe(first_byte_seconds)
        if handling_seconds is not None:
            self._response_handling.observe(handling_seconds)
        if usage is None:
            return
        # Differs: the older picker looks for the cached tokens under a key that no server writes.
        if usage.cached_tokens is None:
            record.without_cached += 1
        else:
            record.cached_tokens.observe(usage.cached_tokens)
        if usage.prompt_tokens:
            record.input_tokens.observe(usage.prompt_tokens)
        tokens = usage.completion_tokens
        if not tokens:
            return
        record.output_tokens.observe(tokens)
        if not is_streaming:
            record.normalized_plain.observe(seconds / tokens)
            return
        record.normalized_streamed.observe(seconds / tokens)
        if tokens > 1 and first_byte_seconds is not None:
            record.token_seconds.observe((seconds - first_byte_seconds) / (tokens - 1))

    def _numbers(self) -> Iterator[Numbers]:
        text = "Requests with a body sent on their way."
        yield Numbers(
            "inference_objective_request_total", text, "counter", self._requests_of_models
        )
        yield Numbers("llm_d_epp_request_total", text, "counter", self._requests)
        text = "Requests that ended with an error."
        yield Numbers(
            "inference_objective_request_error_total", text, "counter", self._errors_of_models
        )
        yield Numbers("llm_d_epp_request_error_total", text, "counter", self._errors)
        text = "Requests at the model servers now."
        yield Numbers(
            "inference_objective_running_requests", text, "gauge", self._running_of_models
        )
        yield Numbers("llm_d_epp_request_running", text, "gauge", self._running)

    def _histograms(self) -> Iterator[Histograms]:
        for family in _FAMILIES:
            if family.old:
                yield Histograms(
                    f"inference_objective_{family.old}",
                    family.text,
                    family.bounds,
                    partial(self._of_models, family.old_of or family.of),
                )
            yield Histograms(
                f"llm_d_epp_{family.new}",
                family.text,
                family.bounds,
                partial(self._each, family.of),
            )
        yield Histograms(
            "llm_d_epp_request_ttft_seconds",
            "Time from a request's headers to the first byte of its answer's body.",
            buckets.FIRST_TOKEN,
            self._first_bytes,
        )

    def _unlabelled(self) -> Iterator[Histograms]:
        yield Histograms(
            "llm_d_epp_request_processing_duration_seconds",
            "Time from a request's headers until it was sent on its way or refused.",
            buckets.REQUEST_HANDLING,
            lambda: [("", self._handling)],
        )
        yield Histograms(
            "llm_d_epp_response_processing_duration_seconds",
            "Time from an answer's headers to its end, where it is not streamed.",
            buckets.RESPONSE_HANDLING,
            lambda: [("", self._response_handling)],
        )

    def _all(self) -> list[Record]:
        return list(self._records.values())

    def _pairs(self) -> list[tuple[str, list[Record]]]:
        return list(self._records.by_models.items())

    def _each(self, of: _Part) -> Iterator[tuple[str, HistogramSeries]]:
        for record in self._all():
            series = of(record)
            if any(series.counts):
                yield record.labels, series

    def _of_models(self, of: _Part) -> Iterator[tuple[str, HistogramSeries]]:
        for labels, records in self._pairs():
            series = add_up([of(record) for record in records])
            if any(series.counts):
                yield labels, series

    def _first_bytes(self) -> Iterator[tuple[str, HistogramSeries]]:
        for record in self._all():
            for streaming, series in zip(("false", "true"), record.first_byte_seconds, strict=True):
                if any(series.counts):
                    yield record.spell(streaming=streaming), series

    def _requests(self) -> Iterator[tuple[str, int]]:
        return ((record.labels, record.requests) for record in self._all() if record.requests)

    def _requests_of_models(self) -> Iterator[tuple[str, int]]:
        for labels, records in self._pairs():
            if requests := sum(record.requests for record in records):
                yield labels, requests

    def _errors(self) -> Iterator[tuple[str, int]]:
        for record in self._all():
            errors = ((_NEW_CODES.get(code, code), n) for code, n in record.errors.items())
            for code, count in _sums(errors):
                yield f'error_code="{code}",{record.labels}', count

    def _errors_of_models(self) -> Iterator[tuple[str, int]]:
        for labels, records in self._pairs():
            for code, count in _sums(chain(*(record.errors.items() for record in records))):
                yield f'error_code="{code}",{labels}', count

    def _running(self) -> Iterator[tuple[str, int]]:
        return ((record.labels, record.running) for record in self._all() if record.has_run())

    def _running_of_models(self) -> Iterator[tuple[str, int]]:
        models = ((record.key.model, record.running) for record in self._all() if record.has_run())
        for model, running in _sums(models):
            yield spell_labels({"model_name": model}), running


def _sums(counts: Iterable[tuple[str, int]]) -> Iterable[tuple[str, int]]:
    sums: dict[str, int] = {}
    for name, count in counts:
        sums[name] = sums.get(name, 0) + count
    return sums.items()


def _cached_or_none(record: Record) -> HistogramSeries:
    """The cached tokens of every usage, 0 where it does not tell them."""
    if not record.without_cached:
        return record.cached_tokens
    zeros = HistogramSeries(buckets.INPUT_TOKENS)
    zeros.counts[0] = record.without_cached
    return add_up([record.cached_tokens, zeros])


class _Family(NamedTuple):
    """A histogram of the records: its older name, if any, and its newer one.

    ``old_of`` is what the older one shows of a record where it is not the same.
    """

    old: str
    new: str
    text: str
    bounds: Sequence[float]
    of: _Part
    old_of: _Part | None = None


_FAMILIES = (
    _Family(
        "request_duration_seconds",
        "request_duration_seconds",
        "Time from a request's headers to the end of its answer.",
        buckets.LATENCY,
        attrgetter("seconds"),
    ),
    _Family(
        "request_sizes",
        "request_size_bytes",
        "Bytes of request bodies.",
        buckets.REQUEST_SIZE,
        attrgetter("request_bytes"),
    ),
    _Family(
        "response_sizes",
        "response_size_bytes",
        "Bytes of response bodies.",
        buckets.RESPONSE_SIZE,
        attrgetter("response_bytes"),
    ),
    _Family(
        "input_tokens",
        "request_input_tokens",
        "Tokens of prompts.",
        buckets.INPUT_TOKENS,
        attrgetter("input_tokens"),
    ),
    _Family(
        "output_tokens",
        "request_output_tokens",
        "Tokens of completions.",
        buckets.OUTPUT_TOKENS,
        attrgetter("output_tokens"),
    ),
    _Family(
        "prompt_cached_tokens",
        "request_cached_tokens",
        "Tokens of prompts that the model server had in its cache.",
        buckets.INPUT_TOKENS,
        attrgetter("cached_tokens"),
        _cached_or_none,
    ),
    _Family(
        "normalized_time_per_output_token_seconds",
        "request_ntpot_seconds",
        "Time of a request, divided by the tokens of its answer.",
        buckets.NORMALIZED_TIME_PER_TOKEN,
        lambda record: add_up([record.normalized_streamed, record.normalized_plain]),
        attrgetter("normalized_streamed"),
    ),
    _Family(
        "",
        "request_streaming_tpot_seconds",
        "Time of a streamed answer from its first byte on, divided by the tokens after the first.",
        buckets.TIME_PER_TOKEN,
        attrgetter("token_seconds"),
    ),
    _Family(
        "",
        "request_streaming_itl_seconds",
        "Time between two chunks of a streamed answer.",
        buckets.CHUNK_GAP,
        attrgetter("chunk_gaps"),
    ),
)
