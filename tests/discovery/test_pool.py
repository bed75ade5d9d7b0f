from __future__ import annotations

import logging
from collections.abc import Mapping
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.core.selector import Selector
from epp.datastore.store import Datastore, Pool
from epp.discovery.pool import PoolIdentity, PoolView
from epp.discovery.readings import Membership
from epp.kube.objects import EXPERIMENTAL_GROUP, ROUTER_GROUP, STABLE_GROUP, Pod, PoolRef
from tests.discovery.objects import (
    by_name,
    make_node,
    make_objective,
    make_pod,
    make_pool,
    make_rewrite,
    rule,
)

POOL = Pool(name="pool", namespace="ns")
IDENTITY = PoolIdentity("pool", "ns")
OLDER_IDENTITY = PoolIdentity("pool", "ns", EXPERIMENTAL_GROUP)
ACTIVE, ACTIVE_OLD = "llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"


class World:
    """A view with its datastore and the objects that it was told of, as reflectors tell."""

    def __init__(self, identity: PoolIdentity = IDENTITY, **settings: Any) -> None:
        self.datastore = Datastore()
        self.models: set[str] = set()
        self.view = PoolView(
            self.datastore,
            identity,
            on_models=lambda models: setattr(self, "models", set(models)),
            **settings,
        )
        self.pods: dict[str, Pod] = {}
        self.removed: list[str] = []
        self.alive: set[str] = set()
        self.datastore.subscribe(added=self._added, removed=self._removed)

    def _added(self, endpoint: Endpoint) -> None:
        assert endpoint.id not in self.alive
        self.alive.add(endpoint.id)

    def _removed(self, endpoint_id: str) -> None:
        self.alive.remove(endpoint_id)
        self.removed.append(endpoint_id)

    def pool(self, *pools: Any) -> None:
        self.view.pool_changed(by_name(*pools), ["pool"])

    def put(self, *pods: Pod) -> None:
        self.pods.update(by_name(*pods))
        self.view.pods_changed(self.pods, [pod.name for pod in pods])

    def delete(self, name: str) -> None:
        del self.pods[name]
        self.view.pods_changed(self.pods, [name])

    @property
    def known_pool(self) -> Pool | None:
        return self.datastore.pool

    @property
    def destinations(self) -> dict[str, str]:
        return {each.name: each.destination for each in self.datastore.endpoints()}


@pytest.fixture
def world() -> World:
    return World()


def test_there_is_a_pool_once_it_and_its_pods_are_known(world: World) -> None:
    world.pool(make_pool(8000))
    assert world.datastore.pool is None
    world.put(make_pod("a"))
    assert world.datastore.pool == POOL
    other = World()
    other.put(make_pod("a"))
    assert (other.datastore.pool, other.destinations) == (None, {})
    other.pool(make_pool(8000))
    assert (other.datastore.pool, other.destinations) == (POOL, {"a-rank-0": "10.0.0.1:8000"})


def test_an_endpoint_tells_everything_about_itself() -> None:
    world = World(metrics_port=9090)
    world.pool(make_pool(8000, 8001))
    world.put(make_pod("a", "fd00::1", labels={"app": "vllm", "x": "y"}))
    first, second = world.datastore.endpoints()
    assert (first.id, first.name, first.namespace) == ("ns/a-rank-0", "a-rank-0", "ns")
    assert (first.pod, first.destination) == ("a", "[fd00::1]:8000")
    assert (second.id, second.destination) == ("ns/a-rank-1", "[fd00::1]:8001")
    assert first.labels == {"app": "vllm", "x": "y"}
    assert first.metrics_port == second.metrics_port == 0  # it is for one target port only
    world.pool(make_pool(8000))
    (only,) = world.datastore.endpoints()
    assert only.metrics_port == 9090


@pytest.mark.parametrize(
    "pod",
    [
        make_pod(is_ready=False),
        make_pod(is_terminating=True),
        make_pod(address=""),
        make_pod(labels={"app": "other"}),
        make_pod(labels={}),
        make_pod(labels=None),
    ],
)
def test_a_pod_comes_and_goes_with_what_it_needs(world: World, pod: Pod) -> None:
    world.pool(make_pool(8000))
    world.put(pod)
    assert world.destinations == {}
    world.put(make_pod())
    assert world.destinations == {"a-rank-0": "10.0.0.1:8000"}
    world.put(pod)
    assert world.destinations == {}
    world.put(make_pod())
    world.delete("a")
    assert world.destinations == {}


def test_a_change_of_labels_keeps_what_is_known(world: World) -> None:
    world.pool(make_pool(8000))
    world.put(make_pod())
    world.datastore.scrape_succeeded("ns/a-rank-0", EndpointMetrics(waiting_queue_size=7))
    world.put(make_pod(labels={"app": "vllm", "new": "label"}))
    (endpoint,) = world.datastore.endpoints()
    assert endpoint.labels == {"app": "vllm", "new": "label"}
    assert endpoint.metrics.waiting_queue_size == 7
    assert world.removed == []


def test_a_new_address_is_another_endpoint(world: World) -> None:
    world.pool(make_pool(8000, 8001))
    world.put(make_pod())
    world.put(make_pod(address="10.0.0.2"))
    assert world.removed == ["ns/a-rank-0", "ns/a-rank-1"]
    assert world.destinations == {"a-rank-0": "10.0.0.2:8000", "a-rank-1": "10.0.0.2:8001"}


def test_ports_that_change_drop_ranks_at_once(world: World) -> None:
    world.put(make_pod())
    world.pool(make_pool(8000, 8001, 8002))
    assert list(world.destinations) == ["a-rank-0", "a-rank-1", "a-rank-2"]
    world.pool(make_pool(8000, 8002))
    assert world.destinations == {"a-rank-0": "10.0.0.1:8000", "a-rank-1": "10.0.0.1:8002"}
    assert set(world.removed) == {"ns/a-rank-1", "ns/a-rank-2"}


def test_a_selector_that_changes_chooses_anew(world: World) -> None:
    world.put(make_pod("a"), make_pod("b", labels={"app": "b"}))
    world.pool(make_pool(8000))
    assert list(world.destinations) == ["a-rank-0"]
    world.pool(make_pool(8000, labels={"app": "b"}))
    assert list(world.destinations) == ["b-rank-0"]


@pytest.mark.parametrize(
    ("annotations", "ranks"),
    [
        (None, [0, 1]),
        ({ACTIVE: "8001"}, [1]),
        ({ACTIVE_OLD: "8000"}, [0]),
        ({ACTIVE: "8001", ACTIVE_OLD: "8000"}, [1]),
        ({ACTIVE: "9999"}, []),
        ({ACTIVE: ""}, []),
    ],
)
def test_an_annotation_leaves_some_ranks(
    world: World, annotations: Mapping[str, str] | None, ranks: list[int]
) -> None:
    world.pool(make_pool(8000, 8001))
    world.put(make_pod())
    world.put(make_pod(annotations=annotations))
    assert [endpoint.port - 8000 for endpoint in world.datastore.endpoints()] == ranks


@pytest.mark.parametrize("pools", [[], [make_pool(8000, is_terminating=True)]])
def test_a_pool_that_ends_takes_its_endpoints_and_brings_everything_back(
    world: World, pools: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO - 2)
    world.pool(make_pool(8000))
    world.put(make_pod())
    world.view.objectives_changed(STABLE_GROUP, by_name(make_objective("high", 5)), ["high"])
    rewrites = by_name(make_rewrite("r", rule("m", ("t", 1))))
    world.view.rewrites_changed(ROUTER_GROUP, rewrites, ["r"])
    for _ in range(2):
        world.pool(*pools)
        assert (world.datastore.pool, world.destinations) == (None, {})
        assert world.datastore.candidates() == ()
    world.put(make_pod("b", "10.0.0.2"))
    assert world.destinations == {}
    gone = "InferencePool not found. Clearing the datastore"
    assert caplog.messages.count(gone) == 1
    world.pool(make_pool(8000))
    assert world.datastore.pool == POOL
    assert list(world.destinations) == ["a-rank-0", "b-rank-0"]
    assert world.datastore.priority("high") == 5
    assert world.datastore.rewrites.choose("m", Random(1)) == ("r", "t")
    world.pool(*pools)
    assert caplog.messages.count(gone) == 2


def test_without_a_pool_a_line_says_so_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO - 2)
    world.pool()
    world.pool()
    assert caplog.messages == ["InferencePool not found. Clearing the datastore"]


def test_a_pool_that_cannot_be_meant_changes_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.put(make_pod())
    broken = make_pool(0)
    world.pool(broken)
    assert world.datastore.pool is None
    world.pool(make_pool(8000))
    world.pool(broken)
    assert (world.known_pool, list(world.destinations)) == (POOL, ["a-rank-0"])
    assert caplog.messages == ["Ignoring an InferencePool that cannot be meant"] * 2
    fields = vars(caplog.records[0])["fields"]
    assert (fields["name"], fields["namespace"]) == ("pool", "ns")
    assert fields["error"].startswith("spec.targetPorts: 0 is not")


def test_the_older_version_of_the_pool_is_followed_too() -> None:
    world = World(OLDER_IDENTITY)
    world.put(make_pod())
    world.pool(make_pool(selector={"app": "vllm"}, targetPortNumber=8000))
    assert world.destinations == {"a-rank-0": "10.0.0.1:8000"}
    objectives = by_name(
        make_objective("mine", 1, group=EXPERIMENTAL_GROUP), make_objective("other", 2)
    )
    world.view.objectives_changed(EXPERIMENTAL_GROUP, objectives, objectives)
    assert [world.datastore.priority(name) for name in objectives] == [1, 0]


def test_by_a_selector_there_is_a_pool_without_an_object() -> None:
    selector = Selector.parse("app in (vllm,sglang),!drained")
    world = World(membership=Membership(selector=selector, ports=(8000, 8001)))
    assert world.datastore.pool is None
    world.put()
    assert world.datastore.pool == POOL
    world.put(make_pod("a"), make_pod("b", labels={"app": "vllm", "drained": ""}))
    assert world.destinations == {"a-rank-0": "10.0.0.1:8000", "a-rank-1": "10.0.0.1:8001"}


def test_whom_a_reference_means() -> None:
    assert IDENTITY.is_meant(PoolRef(name="pool"))
    assert not IDENTITY.is_meant(PoolRef(name="other"))
    assert not IDENTITY.is_meant(PoolRef(name="pool", group=EXPERIMENTAL_GROUP))
    assert OLDER_IDENTITY.is_meant(PoolRef(name="pool", group=EXPERIMENTAL_GROUP))


def test_priorities_of_both_groups_count_and_the_newer_one_wins(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO - 2)
    newer = by_name(make_objective("both", 1), make_objective("new", -2))
    older = by_name(
        make_objective("both", 3),
        make_objective("old", 4),
        make_objective("unset", None),
        make_objective("ending", 9, is_terminating=True),
        make_objective("stranger", 9, pool="other"),
        make_objective("foreign", 9, group=EXPERIMENTAL_GROUP),
    )
    world.view.objectives_changed(ROUTER_GROUP, newer, newer)
    world.view.objectives_changed(EXPERIMENTAL_GROUP, older, older)
    names = ["both", "new", "old", "unset", "ending", "stranger", "foreign", "none"]
    found = [world.datastore.priority(name) for name in names]
    assert found == [1, -2, 4, 0, 0, 0, 0, 0]
    assert caplog.messages == ["InferenceObjective is for another pool"] * 2
    del newer["both"]
    world.view.objectives_changed(ROUTER_GROUP, newer, ["both"])
    assert world.datastore.priority("both") == 3


def test_the_oldest_rewrite_wins_and_of_two_groups_the_newer(world: World) -> None:
    older = by_name(
        make_rewrite("z", rule("m", ("oldest", 1)), created="2026-01-01T00:00:00Z"),
        make_rewrite("both", rule("b", ("legacy", 1)), created="2026-01-01T00:00:00Z"),
        make_rewrite("ending", rule("e", ("x", 1)), is_terminating=True),
        make_rewrite("stranger", rule("s", ("x", 1)), pool="other"),
    )
    newer = by_name(
        make_rewrite("a", rule("m", ("younger", 1)), rule("only", ("first", 1))),
        make_rewrite("b", rule("only", ("second", 1)), rule("split", ("old", 2), key="split")),
        make_rewrite("both", rule("b", ("new", 1))),
    )
    world.view.rewrites_changed(ROUTER_GROUP, newer, newer)
    world.view.rewrites_changed(EXPERIMENTAL_GROUP, older, older)
    expected = {
        "m": ("z", "oldest"),
        "b": ("both", "new"),
        "only": ("a", "first"),  # as old as the other, so that names decide
        "split": ("b", "old"),
        "e": None,
        "s": None,
    }
    choose = world.datastore.rewrites.choose
    assert {model: choose(model, Random(1)) for model in expected} == expected
    assert world.models >= {"m", "oldest", "younger", "new", "split", "old"}
    assert not world.models & {"x", "legacy"}


def test_a_rewrite_that_cannot_be_meant_keeps_its_last_good_rules(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def choose(item: Any) -> Any:
        world.view.rewrites_changed(ROUTER_GROUP, by_name(item), ["r"])
        return world.datastore.rewrites.choose("m", Random(1))

    broken = make_rewrite("r", rule("m", ("x", 1)), rule("n"))
    assert choose(broken) is None
    assert choose(make_rewrite("r", rule("m", ("t", 1)))) == ("r", "t")
    assert choose(broken) == ("r", "t")
    assert caplog.messages == ["Ignoring an InferenceModelRewrite that cannot be meant"] * 2
    assert choose(make_rewrite("r", rule("m", ("t", 1)), pool="other")) is None
    assert choose(broken) is None


NAMES = ("a", "b")
MANY = 500  # examples, as what can go wrong takes three events that fit together
PODS = st.sampled_from(
    [
        make_pod(),
        make_pod(address="10.0.0.2"),
        make_pod(labels={"app": "vllm", "x": "y"}),
        make_pod(labels={"app": "other"}),
        make_pod(annotations={ACTIVE: "8001"}),
        make_pod(annotations={ACTIVE_OLD: ""}),
        make_pod(address=""),
        make_pod(is_ready=False),
        make_pod(is_terminating=True),
    ]
)
POOLS = st.sampled_from(
    [
        make_pool(8000),
        make_pool(8001, 8000),
        make_pool(8000, 8001, 8002),
        make_pool(8000, labels={"app": "other"}),
        make_pool(8000, is_terminating=True),
    ]
)
OBJECTIVES = st.sampled_from(
    [
        make_objective("", 1),
        make_objective("", -1),
        make_objective("", None),
        make_objective("", 2, pool="another"),
        make_objective("", 3, is_terminating=True),
    ]
)
REWRITES = st.sampled_from(
    [
        make_rewrite("", rule("m", ("t", 1))),
        make_rewrite("", rule("m", ("u", 1)), created="2026-01-01T00:00:00Z"),
        make_rewrite("", rule(None, ("v", 1), ("w", 2))),
        make_rewrite("", rule("m", ("x", 1)), pool="another"),
        make_rewrite("", rule("m", ("y", 1)), is_terminating=True),
    ]
)
GROUPS = {"old": EXPERIMENTAL_GROUP, "new": ROUTER_GROUP}
Events: TypeAlias = list[tuple[str, dict[str, Any], bool]]


def changes(kind: str, items: st.SearchStrategy[Any], *names: str) -> st.SearchStrategy[Any]:
    """Some objects of a kind that come, change or go, and whether a new list tells it."""
    objects = st.dictionaries(st.sampled_from(names), items | st.none(), max_size=len(names))
    return st.tuples(st.just(kind), objects, st.booleans())


MEMBERS = st.lists(
    changes("pods", PODS, *NAMES) | changes("pool", POOLS, "pool"), min_size=6, max_size=12
)
POLICIES = st.lists(
    st.one_of(
        [changes(f"objectives {group}", OBJECTIVES, *NAMES) for group in GROUPS]
        + [changes(f"rewrites {group}", REWRITES, *NAMES) for group in GROUPS]
    ),
    min_size=3,
    max_size=12,
)


def named(item: Any, name: str) -> Any:
    return replace(item, metadata=replace(item.metadata, name=name))


def tell(world: World, kind: str, objects: Mapping[str, Any], names: Any) -> None:
    subject, _, group = kind.partition(" ")
    match subject:
        case "pods":
            world.view.pods_changed(objects, names)
        case "pool":
            world.view.pool_changed(objects, names)
        case "objectives":
            world.view.objectives_changed(GROUPS[group], objects, names)
        case "rewrites":
            world.view.rewrites_changed(GROUPS[group], objects, names)


def state(world: World) -> Any:
    """All that a datastore was told, but for the order of its endpoints."""
    datastore = world.datastore
    endpoints = {
        each.id: (each.destination, each.labels, each.pod, each.metrics_port)
        for each in datastore.endpoints()
    }
    assert world.alive == set(endpoints)
    chosen = [datastore.rewrites.choose(model, Random(1)) for model in ("m", "n")]
    priorities = [datastore.priority(name) for name in NAMES]
    return datastore.pool, endpoints, chosen, priorities, world.models


@settings(max_examples=MANY)
@given(MEMBERS, st.permutations(["pods", "pool"]))
def test_any_way_to_the_same_pods_and_pool_leads_to_the_same_endpoints(
    events: Events, order: list[str]
) -> None:
    assert_way_does_not_matter(events, order)


@settings(max_examples=MANY)
@given(POLICIES, st.permutations([f"{k} {g}" for k in ("objectives", "rewrites") for g in GROUPS]))
def test_any_way_to_the_same_policies_leads_to_the_same_priorities_and_rules(
    events: Events, order: list[str]
) -> None:
    assert_way_does_not_matter(events, order)


def assert_way_does_not_matter(events: Events, order: list[str]) -> None:
    """A view that saw all events knows what one knows that only gets the last objects."""
    world = World(metrics_port=9090)
    known: dict[str, dict[str, Any]] = {}
    for kind, changed, is_new_list in events:
        before = known.setdefault(kind, {})
        objects = dict(before) if is_new_list else before
        names = set(changed) | (set(before) if is_new_list else set())
        for name, item in changed.items():
            objects.pop(name, None)
            if item is not None:
                objects[name] = named(item, name)
        known[kind] = objects
        if is_new_list:
            tell(world, kind, objects, names)
        else:
            for name in names:
                tell(world, kind, objects, [name])
            if not names:
                tell(world, kind, objects, [])
    fresh = World(metrics_port=9090)
    for kind in order:
        if kind not in known:
            continue
        tell(fresh, kind, known[kind], list(known[kind]))
    assert state(world) == state(fresh)


ZONE, HOSTNAME = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
BY_NODES = {ZONE: ZONE, HOSTNAME: HOSTNAME}


def labels_of(world: World) -> dict[str, Mapping[str, str]]:
    """The labels of endpoints without that of the pool."""
    return {
        each.pod: {key: value for key, value in each.labels.items() if key != "app"}
        for each in world.datastore.endpoints()
    }


def test_an_endpoint_knows_the_address_of_its_node() -> None:
    world = World()
    world.pool(make_pool(8000))
    world.put(make_pod("a", node="n", node_address="10.9.9.9"))
    (endpoint,) = world.datastore.endpoints()
    assert endpoint.node_address == "10.9.9.9"


def test_endpoints_get_labels_of_their_nodes_while_somebody_wants_them(world: World) -> None:
    world.pool(make_pool(8000))
    world.put(make_pod("a", node="n1"), make_pod("b", "10.0.0.2", node="n2"), make_pod("c"))
    world.view.nodes_changed(by_name(make_node("n1", zone="z1")), ["n1"])
    assert labels_of(world) == {"a": {}, "b": {}, "c": {}}
    world.view.label_by_nodes(BY_NODES)
    assert labels_of(world) == {"a": {ZONE: "z1", HOSTNAME: "n1"}, "b": {HOSTNAME: "n2"}, "c": {}}
    world.view.nodes_changed(by_name(make_node("n2", zone="z2", rack="r")), ["n1", "n2"])
    assert labels_of(world) == {
        "a": {HOSTNAME: "n1"},
        "b": {ZONE: "z2", HOSTNAME: "n2"},
        "c": {},
    }
    world.view.label_by_nodes({})
    assert labels_of(world) == {"a": {}, "b": {}, "c": {}}
    assert world.removed == []


def test_the_labels_of_a_pod_come_before_those_of_its_node(world: World) -> None:
    world.pool(make_pool(8000))
    world.view.label_by_nodes({ZONE: "example.com/zone"})
    world.put(make_pod("a", labels={"app": "vllm", ZONE: "own"}, node="n"))
    node = make_node("n")
    assert node.metadata.labels is not None
    node.metadata.labels["example.com/zone"] = "z"
    world.view.nodes_changed(by_name(node), ["n"])
    world.put(make_pod("b", "10.0.0.2", node="n"))
    assert labels_of(world) == {"a": {ZONE: "own"}, "b": {ZONE: "z"}}
