from __future__ import annotations

from epp.core.plugin import Plugin
from epp.prefixcache.memory import PrefixMemory
from tests.fakes import FakeProbe, endpoints, make_endpoint


class Owner(Plugin):
    type = "some-producer"


def test_several_chains_are_added_up() -> None:
    probe = FakeProbe()
    memory = PrefixMemory(Owner(), probe, capacity=100)
    a, b = endpoints(0, 0)
    memory.learn(memory.look_up([[1, 2], [7]], 64), a)
    memory.learn(memory.look_up([[1]], 64), b)
    match = memory.look_up([[1, 2, 3], [7, 8]], 64).match
    assert (match.total_blocks, match.matched_blocks) == (5, {a.id: 3, b.id: 1})


def test_others_learn_too_and_only_the_first_is_reported() -> None:
    probe = FakeProbe()
    memory = PrefixMemory(Owner(), probe, capacity=100)
    a, b = endpoints(0, 0)
    memory.learn(memory.look_up([[1, 2]], 64), a, [b])
    assert memory.look_up([[1, 2]], 64).match.matched_blocks == {a.id: 2, b.id: 2}
    assert (probe.prefix_matches, probe.index_sizes, len(memory)) == ([(0, 2, 64)], [4], 4)
    assert probe.prefix_plugins == {("some-producer", "some-producer")}


def test_reports_can_be_made_in_place_of_a_scorer() -> None:
    probe = FakeProbe()
    memory = PrefixMemory(Owner(), probe, capacity=100, report_as="p")
    (a,) = endpoints(0)
    memory.learn(memory.look_up([[1]], 64), a)
    memory.forget("default/a")
    assert probe.prefix_plugins == {("prefix-cache-scorer", "p")}
    assert probe.index_sizes == [1, 0]


def test_an_endpoint_s_own_number_of_blocks_counts_only_where_it_is_trusted() -> None:
    a = make_endpoint("a", cache_num_blocks=3)
    for trusts, kept in ((True, 3), (False, 2)):
        memory = PrefixMemory(Owner(), FakeProbe(), capacity=2, trusts_reports=trusts)
        memory.learn(memory.look_up([[1, 2, 3, 4]], 64), a)
        assert len(memory) == kept
