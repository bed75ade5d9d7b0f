"""What is counted for each model, each flow and each priority: requests, answers, tokens.

Theory of operation
-------------------
A request is counted once, in the record of its model, target, fairness id and priority. The newer
families are these records; an older family, which knows only the models, is made when the page is:
its series are sums of the records of a pair of models.

Differs: after 1,000 pairs of models the names of further ones are ``other``, unless they are
pinned, and after 1,000 combinations of a pair, a fairness id and a priority so is the fairness id;
upstream counts names and ids apart. The older families are fed like the newer ones, by answers that
are streamed or no JSON too, with their real size; upstream observes 0 for the former and nothing
for the latter, and measures its own spelling of a request, not the client's.

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
from epp.core.request import DEFAULT_FAIRNESS_ID, RequestKey, Usage
from epp.telemetry import buckets
from epp.telemetry.exposition import spell_labels
from epp.telemetry.histogram import Histograms, HistogramSeries, add_up
from epp.telemetry.labels import OTHER, Limit, label_text
from epp.telemetry.numbers import Numbers

# What the newer families call an error differently.
_NEW_CODES = {"InferencePoolResourceExhausted": "ResourceExhausted"}


class Record:
    """What is known of the requests of one key; ``labels`` are its own, as on the page."""

    __slots__ = (
        "cached_tokens",
        "chunk_gaps",
        "errors",
        "first_byte_seconds",
        "input_tokens",
        "key",
        "labels",
        "normalized_plain",
        "normalized_streamed",
        "output_tokens",
        "request_bytes",
        "requests",
        "response_bytes",
        "running",
        "seconds",
        "token_seconds",
        "without_cached",
    )

    def __init__(self, key: RequestKey) -> None:
        self.key = key
        self.labels = _spell(key)
        self.requests = 0
        self.running = 0
        self.errors: dict[str, int] = {}
        self.request_bytes = HistogramSeries(buckets.REQUEST_SIZE)
        self.response_bytes = HistogramSeries(buckets.RESPONSE_SIZE)
        self.seconds = HistogramSeries(buckets.LATENCY)
        # of answers that are no stream, and of streams
        self.first_byte_seconds = tuple(HistogramSeries(buckets.FIRST_TOKEN) for _ in range(2))
        self.chunk_gaps = HistogramSeries(buckets.CHUNK_GAP)
        self.token_seconds = HistogramSeries(buckets.TIME_PER_TOKEN)
        self.normalized_streamed = HistogramSeries(buckets.NORMALIZED_TIME_PER_TOKEN)
        self.normalized_plain = HistogramSeries(buckets.NORMALIZED_TIME_PER_TOKEN)
        self.input_tokens = HistogramSeries(buckets.INPUT_TOKENS)
        self.output_tokens = HistogramSeries(buckets.OUTPUT_TOKENS)
        self.cached_tokens = HistogramSeries(buckets.INPUT_TOKENS)
        self.without_cached = 0


_Part: TypeAlias = Callable[[Record], HistogramSeries]


class Records(dict[RequestKey, Record]):
    """The records by the key that is in their labels; a look-up finds the one for any key.

    ``by_models`` are the same ones, by the spelled labels of their pair of models.
    """

    def __init__(self, pinned: Collection[str]) -> None:
        super().__init__()
        self.by_models: dict[str, list[Record]] = {}
        self._pinned = pinned
        self._pairs = Limit()
        self._flows = Limit()

    def __missing__(self, key: RequestKey) -> Record:
        label = self._label(key)
        record = self.get(label)
        if record is None:
            record = self[label] = Record(label)
            labels = spell_labels({"model_name": label.model, "target_model_name": label.target})
            self.by_models.setdefault(labels, []).append(record)
        return record

    def _label(self, key: RequestKey) -> RequestKey:
        """The key under which a request is counted; the same one every time."""
        pair = label_text(key.model), label_text(key.target)
        is_pinned = [name in self._pinned for name in pair]
        if not all(is_pinned) and not self._pairs.admits(pair):
            model, target = (
                name if pinned else OTHER for name, pinned in zip(pair, is_pinned, strict=True)
            )
        else:
            model, target = pair
        label = RequestKey(model, target, label_text(key.fairness_id), key.priority)
        if label.fairness_id != DEFAULT_FAIRNESS_ID and not self._flows.admits(label):
            label = RequestKey(model, target, OTHER, key.priority)
        return label


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
                    yield _spell(record.key, streaming=streaming), series

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
        return ((record.labels, record.running) for record in self._all() if _ran(record))

    def _running_of_models(self) -> Iterator[tuple[str, int]]:
        models = ((record.key.model, record.running) for record in self._all() if _ran(record))
        for model, running in _sums(models):
            yield spell_labels({"model_name": model}), running


def _spell(key: RequestKey, **more: str) -> str:
    return spell_labels(
        {
            "model_name": key.model,
            "target_model_name": key.target,
            "fairness_id": key.fairness_id,
            "priority": str(key.priority),
            **more,
        }
    )


def _ran(record: Record) -> bool:
    """Whether requests of this key have ever been counted as running; without a model none is."""
    return bool(record.key.model and (record.requests or record.running))


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
