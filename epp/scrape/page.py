"""Finds a few metrics in a page of Prometheus text, without reading the rest of it.

Model servers answer with 15 to 150 kB of which a handful of lines matter, and they are asked twenty
times a second. Theory of operation:

* ``bytes.find`` jumps to the first line that begins with the wanted name. The format keeps all
  samples of a metric together, so reading stops at the end of the run of lines that has a match.
* The next page of the same server has that run at nearly the same place, below the same comment:
  it is looked for there first. The format has a metric's TYPE and HELP once in a page and before
  its first sample, so what is found below them is what a search of the whole page finds.
* Of a run that is one line, the usual case, only the number is read again. A longer one that is the
  same to the last byte (the labels of an info metric never change) is not read again at all.
* What the lines of a page may cost together is bounded by a ``Budget``: whoever runs on the event
  loop must not be at the mercy of one model server.

The five metrics of a vLLM page of 15 kB take 7 us together; to search the whole page for each and
to read its lines as if they were new takes 70, and grows with the page. The plain version, which
parses the page, is in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from epp.core.metricspec import MetricSpec
from epp.scrape.line import Budget, LineReader, Sample, read_number

_NEARBY_BYTES = 128
_MAX_REMEMBERED_BYTES = 2048
_NEXT_METRIC = (b"# HELP ", b"# TYPE ")
_REMARK = (b"#", b"\n", b"\r\n")
_REMARK_WORK = 500


class MetricFinder:
    """Finds one metric in successive pages of one model server."""

    def __init__(self, spec: MetricSpec) -> None:
        name = self._name = spec.name.encode()
        self._line_start = b"\n" + name
        self._comments = (b"# TYPE %b " % name, b"# HELP %b " % name)
        self._reader = LineReader(spec)
        # the comment above the run and the name, and where they were
        self._lead = b""
        self._lead_start = 0
        # the run; of a single line what precedes its number
        self._known = b""
        self._is_single = False
        self._samples: Sequence[Sample] = ()

    def find(self, page: bytes, budget: Budget) -> Sequence[Sample]:
        """The matching samples with a usable number, in page order, as far as the budget goes."""
        start = self._start_nearby(page)
        if start is not None:
            samples = self._read_again(page, start) or self._read_run(page, start, budget)[0]
            if samples:
                return samples
        start = self._start_from(page, 0)
        while start is not None and budget.left > 0:
            samples, end = self._read_run(page, start, budget)
            if samples:
                self._remember_place(page, start)
                return samples
            start = self._start_from(page, end)
        return ()

    def find_best(self, page: bytes, budget: Budget) -> Sample | None:
        """The sample with the greatest timestamp, of equal ones the first."""
        samples = self.find(page, budget)
        if len(samples) == 1:
            return samples[0]
        return max(samples, key=attrgetter("timestamp"), default=None)

    def _start_nearby(self, page: bytes) -> int | None:
        """Where the metric starts, if that is below the same comment at about the same place."""
        lead, at = self._lead, self._lead_start
        if not lead:
            return None
        if not page.startswith(lead, at):
            at = page.find(lead, max(0, at - _NEARBY_BYTES), at + len(lead) + _NEARBY_BYTES)
            if at < 0:
                return None
            self._lead_start = at
        return at + len(lead) - len(self._name)

    def _start_from(self, page: bytes, at: int) -> int | None:
        """The first line at or after the line start ``at`` that begins with the name."""
        if page.startswith(self._name, at):
            return at
        before = page.find(self._line_start, at and at - 1)
        return before + 1 if before >= 0 else None

    def _read_again(self, page: bytes, start: int) -> Sequence[Sample]:
        """The samples of a run that is known but for the number of a single line, else none."""
        known = self._known
        if not known or not page.startswith(known, start):
            return ()
        end = start + len(known)
        samples = self._samples
        if self._is_single:
            line_end = page.find(b"\n", end)
            value = read_number(page[end:line_end]) if line_end >= 0 else None
            if value is None:
                return ()
            end = line_end + 1
            samples = (Sample(value, samples[0].labels),)
        return samples if page.startswith(_NEXT_METRIC, end) or end == len(page) else ()

    def _read_run(self, page: bytes, start: int, budget: Budget) -> tuple[Sequence[Sample], int]:
        """The samples in the lines from ``start`` on that begin with the name, and their end."""
        samples: list[Sample] = []
        at = start
        while budget.left > 0:
            end = page.find(b"\n", at)
            if end < 0:
                end = len(page)
            sample = self._reader.read(page[at:end], budget)
            if sample is not None:
                samples.append(sample)
            at = self._skip_remarks(page, end + 1, budget)
            if not page.startswith(self._name, at):
                break
        if samples:
            self._remember_run(page[start:at], samples)
        return samples, at

    def _skip_remarks(self, page: bytes, at: int, budget: Budget) -> int:
        """Past empty lines and comments that begin no other metric: the run may go on there."""
        while page.startswith(_REMARK, at) and not page.startswith(_NEXT_METRIC, at):
            budget.left -= _REMARK_WORK
            end = page.find(b"\n", at) + 1
            if end == 0 or budget.left <= 0:
                break
            at = end
        return at

    def _remember_run(self, run: bytes, samples: Sequence[Sample]) -> None:
        self._samples = samples
        head = run.rpartition(b" ")[0]
        self._is_single = self._reader.knows(head)
        known = head + b" " if self._is_single else run
        self._known = known if len(known) <= _MAX_REMEMBERED_BYTES else b""

    def _remember_place(self, page: bytes, start: int) -> None:
        above = page.rfind(b"\n", 0, max(0, start - 1))
        has_comment = page.startswith(self._comments, above + 1)
        is_usable = above >= 0 and has_comment and start - above <= _MAX_REMEMBERED_BYTES
        self._lead = page[above : start + len(self._name)] if is_usable else b""
        self._lead_start = above
