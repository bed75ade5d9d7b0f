"""What is remembered of requests: one record for each model, target, fairness id and priority.

Differs: after 1,000 pairs of models the names of further ones are ``other``, unless they are
pinned, and after 1,000 combinations of a pair, a fairness id and a priority so is the fairness id;
upstream counts names and ids apart.
"""

from __future__ import annotations

from collections.abc import Collection

from epp.core.request import DEFAULT_FAIRNESS_ID, RequestKey
from epp.telemetry import buckets
from epp.telemetry.exposition import spell_labels
from epp.telemetry.histogram import HistogramSeries
from epp.telemetry.labels import OTHER, Limit, label_text


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
        self.labels = self.spell()
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

    def spell(self, **more: str) -> str:
        """The labels with further ones, in the order of their names."""
        key = self.key
        return spell_labels(
            {
                "model_name": key.model,
                "target_model_name": key.target,
                "fairness_id": key.fairness_id,
                "priority": str(key.priority),
                **more,
            }
        )

    def has_run(self) -> bool:
        """Whether requests of this key were counted as running; without a model none is."""
        return bool(self.key.model and (self.requests or self.running))


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
