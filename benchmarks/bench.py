"""Runs the cases, round after round, with one picker or with two in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from benchmarks import cases
from benchmarks.bed import Bed, Gateway
from benchmarks.cases import SCRAPED_ENDPOINTS, TRAFFIC_ENDPOINTS, Case
from benchmarks.contenders import Contender
from benchmarks.figures import Row, Sample
from benchmarks.measure import memory


class Effort(msgspec.Struct, frozen=True):
    """How long to look: shares of the cases' time, and seconds of idling."""

    rounds: int
    share: float
    idle_seconds: float

    @classmethod
    def of(cls, *, quick: bool, rounds: int | None = None) -> Effort:
        """Quick is one round of half the time; of full rounds there are three."""
        if quick:
            return cls(rounds or 1, share=0.5, idle_seconds=4)
        return cls(rounds or 3, share=1.0, idle_seconds=6)


class Bench:
    """One run: ``contenders`` are ours and perhaps another.

    Both serve at the same time, but whoever is not measured is paused. ``tell`` receives each
    sample with the names of its row and picker as it comes.
    """

    def __init__(
        self,
        bed: Bed,
        contenders: Sequence[Contender],
        effort: Effort,
        tell: Callable[[str, str, Sample], None],
    ) -> None:
        self._bed = bed
        self._contenders = contenders
        self._effort = effort
        self._tell = tell
        self._rows = {
            name: Row(name, reference, [], []) for name, reference in cases.REFERENCES.items()
        }

    def run(self) -> list[Row]:
        """All cases in all rounds; who is first alternates.

        Raises:
            ProcessError: a process did not start, or died.
        """
        for number in range(self._effort.rounds):
            turn = self._contenders if number % 2 == 0 else self._contenders[::-1]
            self._traffic(turn)
            self._verbose([contender for contender in turn if contender.tells_verbosity])
            self._scraping(turn)
        return list(self._rows.values())

    def _traffic(self, contenders: Sequence[Contender]) -> None:
        with self._gateways(contenders) as gateways:
            for gateway in self._turns(gateways):
                self._idle(gateway, TRAFFIC_ENDPOINTS)
            for case in cases.CASES:
                for gateway in self._turns(gateways):
                    self._measure(gateway, case, self._effort.share)
            for case in cases.LONG_CASES:
                for gateway in self._turns(gateways):
                    # Never shortened: the memory after them is a figure, too.
                    self._measure(gateway, case, share=1.0)
            for gateway in gateways:
                used = memory(gateway.picker.pid).now_mib
                self._add(cases.MEMORY_END, gateway, Sample(value=used))

    def _verbose(self, contenders: Sequence[Contender]) -> None:
        case = cases.SMALL_VERBOSE
        with self._gateways(contenders, verbosity=case.verbosity) as gateways:
            for gateway in self._turns(gateways):
                self._bed.idle(gateway, seconds=self._effort.idle_seconds / 2)
                self._measure(gateway, case, self._effort.share)

    def _scraping(self, contenders: Sequence[Contender]) -> None:
        for contender in contenders:
            with self._bed.gateway(contender, endpoints=SCRAPED_ENDPOINTS) as gateway:
                self._idle(gateway, SCRAPED_ENDPOINTS)

    @contextlib.contextmanager
    def _gateways(
        self, contenders: Iterable[Contender], verbosity: int = 1
    ) -> Iterator[list[Gateway]]:
        """Started one after the other, each while the others are paused."""
        with contextlib.ExitStack() as stack:
            gateways: list[Gateway] = []
            for contender in contenders:
                for earlier in gateways:
                    earlier.picker.pause()
                gateway = stack.enter_context(
                    self._bed.gateway(contender, endpoints=TRAFFIC_ENDPOINTS, verbosity=verbosity)
                )
                gateways.append(gateway)
                if verbosity == 1:
                    self._add(cases.START, gateway, Sample(value=gateway.start_seconds))
                    used = memory(gateway.picker.pid).now_mib
                    self._add(cases.MEMORY_START, gateway, Sample(value=used))
            yield gateways

    def _turns(self, gateways: Iterable[Gateway]) -> Iterator[Gateway]:
        for gateway in gateways:
            self._bed.only(gateway)
            yield gateway

    def _idle(self, gateway: Gateway, endpoints: int) -> None:
        found = self._bed.idle(gateway, seconds=self._effort.idle_seconds)
        self._add(cases.idle(endpoints), gateway, found)

    def _measure(self, gateway: Gateway, case: Case, share: float) -> None:
        found = self._bed.measure(gateway, case, share=share)
        self._add(case.name, gateway, found)
        if case is cases.STEADY and found.latency:
            self._add(cases.P99, gateway, Sample(value=found.latency.p99_ms))

    def _add(self, name: str, gateway: Gateway, found: Sample) -> None:
        row = self._rows[name]
        is_ours = gateway.contender is self._contenders[0]
        (row.ours if is_ours else row.other).append(found)
        self._tell(name, gateway.contender.name, found)
