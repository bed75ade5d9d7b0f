"""Where requests go that came together, so that those with the same prompt share an endpoint.

Theory of operation. Requests with the same blocks are a *unit*, and so is, if wanted, a single
request that begins like another one of the burst. Units are placed one after the other, those of
several requests first, long ones first: at an endpoint that already got a unit with the same
beginning and has not more than its fair share, else where the burst has brought least so far. Ties
go to the endpoint with fewer running requests, then by name.

Source: llm-d-router v0.10, requestcontrol/dataproducer/burstprefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from epp.core.endpoint import Endpoint
from epp.prefixcache.hashing import Hashes
from epp.prefixcache.index import PrefixIndex

Start: TypeAlias = tuple[int, ...]
"""The last hash of each prompt, as far as it is looked at; equal for equal beginnings."""


class BurstRequest:
    """One request of a burst; ``chains`` are the hashes of its prompts, not all empty.

    ``assigned`` is the id of its endpoint, empty where the burst has nothing to do with it.
    """

    __slots__ = ("assigned", "chains")

    def __init__(self, chains: Sequence[Hashes]) -> None:
        self.chains = chains
        self.assigned = ""

    @property
    def total_blocks(self) -> int:
        """The blocks of all prompts."""
        return sum(map(len, self.chains))

    def start(self, blocks: int) -> Start:
        """What tells the first ``blocks`` from others."""
        ends: list[int] = []
        for chain in self.chains:
            taken = min(blocks, len(chain))
            if taken:
                ends.append(int(chain[taken - 1]))
                blocks -= taken
        return tuple(ends)


class Placement:
    """Places one burst.

    An endpoint gets at most ``max_per_endpoint`` of a unit (None: all of it) unless all have that
    many. From ``min_shared_blocks`` on a common beginning counts (0: never). With ``by_blocks`` the
    load is what has to be computed, not the number of requests.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        max_per_endpoint: int | None,
        min_shared_blocks: int,
        by_blocks: bool,
    ) -> None:
        self._endpoints = {endpoint.id: endpoint for endpoint in endpoints}
        self._max = max_per_endpoint
        self._min_shared = min_shared_blocks
        self._by_blocks = by_blocks
        self._load = dict.fromkeys(self._endpoints, 0)
        self._fair_share = 0
        self._index = PrefixIndex()
        self._capacity = 1

    def assign(self, requests: Sequence[BurstRequest]) -> None:
        """Set ``assigned`` where the burst says something about it."""
        units = self._units(requests)
        if not units or not self._endpoints:
            return
        total = sum(u[0].total_blocks if self._by_blocks else len(u) for u in units)
        self._fair_share = -(-total // len(self._endpoints))
        self._capacity = 1 + sum(unit[0].total_blocks for unit in units)
        units.sort(key=lambda unit: (len(unit) == 1, -unit[0].total_blocks))
        for unit in units:
            self._place(unit)

    def _units(self, requests: Sequence[BurstRequest]) -> list[list[BurstRequest]]:
        same: dict[tuple[int, Start], list[BurstRequest]] = {}
        for request in requests:
            blocks = request.total_blocks
            same.setdefault((blocks, request.start(blocks)), []).append(request)
        begins_with: dict[Start, int] = {}
        least = self._min_shared
        for unit in same.values():
            if least > 0 and unit[0].total_blocks >= least:
                start = unit[0].start(least)
                begins_with[start] = begins_with.get(start, 0) + len(unit)
        return [
            unit
            for unit in same.values()
            if len(unit) > 1 or (least > 0 and begins_with.get(unit[0].start(least), 0) > 1)
        ]

    def _place(self, unit: list[BurstRequest]) -> None:
        shared = self._shared(unit[0])
        here: dict[str, int] = {}
        waiting = list(unit)
        while waiting:
            chosen = self._choose(here, shared if not here else {})
            room = len(waiting) if self._max is None else max(1, self._max - here.get(chosen, 0))
            for request in waiting[:room]:
                request.assigned = chosen
            if not self._by_blocks:
                self._load[chosen] += len(waiting[:room])
            elif chosen not in here:
                # What it has of this beginning already need not be computed again.
                self._load[chosen] += max(0, unit[0].total_blocks - shared.get(chosen, 0))
            here[chosen] = here.get(chosen, 0) + len(waiting[:room])
            del waiting[:room]
        if self._min_shared > 0 or self._by_blocks:
            for endpoint_id in here:
                for chain in unit[0].chains:
                    self._index.add(endpoint_id, chain, capacity=self._capacity)

    def _shared(self, request: BurstRequest) -> dict[str, int]:
        """How many of its blocks the burst has brought to each endpoint."""
        shared: dict[str, int] = {}
        if self._min_shared > 0 or self._by_blocks:
            for chain in request.chains:
                for endpoint_id, blocks in self._index.match(chain).items():
                    shared[endpoint_id] = shared.get(endpoint_id, 0) + blocks
        return shared

    def _choose(self, here: dict[str, int], shared: dict[str, int]) -> str:
        if self._min_shared > 0:
            alike = [
                endpoint_id
                for endpoint_id, blocks in shared.items()
                if blocks >= self._min_shared and self._load[endpoint_id] < self._fair_share
            ]
            if alike:
                return min(alike, key=lambda of: (-shared[of], *self._rank(of)))
        limit = self._max
        free = [of for of in self._endpoints if limit is None or here.get(of, 0) < limit]
        return min(free or self._endpoints, key=self._rank)

    def _rank(self, endpoint_id: str) -> tuple[int, int, str]:
        running = self._endpoints[endpoint_id].metrics.running_requests
        return self._load[endpoint_id], running, endpoint_id
