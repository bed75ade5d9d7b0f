"""What endpoints were sent before, as one producer of prefix matches knows and reports it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from epp.core.data import PrefixMatch
from epp.core.endpoint import Endpoint
from epp.core.plugin import Plugin
from epp.core.probe import Probe
from epp.prefixcache.hashing import Hashes
from epp.prefixcache.index import PrefixIndex

SCORER_TYPE = "prefix-cache-scorer"


class SeenPrompt(NamedTuple):
    """What a producer keeps with a request until it knows where that goes.

    ``chains`` are the hashes of each of its prompts.
    """

    chains: Sequence[Hashes]
    match: PrefixMatch


class PrefixMemory:
    """The index of one plugin, and the reports on it.

    ``capacity`` is how many blocks are remembered of an endpoint that does not report how many its
    cache has, or whose report is not trusted. ``report_as`` is the name of the scorer in whose
    place the plugin reports; empty where it reports for itself.
    """

    def __init__(
        self,
        owner: Plugin,
        probe: Probe,
        *,
        capacity: int,
        trusts_reports: bool = True,
        report_as: str = "",
    ) -> None:
        self._owner = owner
        self._probe = probe
        self._capacity = capacity
        self._trusts_reports = trusts_reports
        self._report_as = report_as
        self._index = PrefixIndex()

    def __len__(self) -> int:
        return len(self._index)

    def look_up(self, chains: Sequence[Hashes], block_bytes: int) -> SeenPrompt:
        """The blocks of all prompts, and who has seen how many of them."""
        index = self._index
        if len(chains) == 1:
            matched = index.match(chains[0])
        else:
            matched = {}
            for chain in chains:
                for endpoint_id, blocks in index.match(chain).items():
                    matched[endpoint_id] = matched.get(endpoint_id, 0) + blocks
        total = sum(map(len, chains))
        return SeenPrompt(chains, PrefixMatch(total, block_bytes, matched))

    def learn(self, prompt: SeenPrompt, first: Endpoint, others: Iterable[Endpoint] = ()) -> None:
        """The prompt goes to these; of the first one it is reported how much that had seen."""
        type_name, name = self._label()
        match = prompt.match
        matched = match.matched_blocks.get(first.id, 0)
        self._probe.prefix_matched(type_name, name, matched, match.total_blocks, match.block_bytes)
        self._add(prompt, first)
        for endpoint in others:
            self._add(prompt, endpoint)
        self._probe.prefix_index_sized(type_name, name, len(self._index))

    def forget(self, endpoint_id: str) -> None:
        """The endpoint left the pool."""
        self._index.remove(endpoint_id)
        self._probe.prefix_index_sized(*self._label(), len(self._index))

    def _add(self, prompt: SeenPrompt, endpoint: Endpoint) -> None:
        reported = endpoint.metrics.cache_num_blocks if self._trusts_reports else 0
        capacity = reported if reported > 0 else self._capacity
        for chain in prompt.chains:
            self._index.add(endpoint.id, chain, capacity=capacity)

    def _label(self) -> tuple[str, str]:
        if self._report_as:
            return SCORER_TYPE, self._report_as
        return self._owner.type, self._owner.name
