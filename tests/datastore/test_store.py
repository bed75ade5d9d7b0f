from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoint import Endpoint, EndpointMetrics
from epp.datastore.store import PASSED_OVER_SECONDS, Datastore, Pool
from tests.fakes import FakeClock, endpoints, make_endpoint


def store_of(*members: Endpoint) -> Datastore:
    store = Datastore()
    store.set_endpoints(members)
    return store


def names(store: Datastore) -> list[str]:
    return [endpoint.name for endpoint in store.candidates()]


def metrics(**values: Any) -> EndpointMetrics:
    return EndpointMetrics(**values)


# One letter per event at an endpoint: Metrics read, an Unreadable answer, a Connection failure.
@pytest.mark.parametrize(
    ("events", "is_reachable"),
    [
        ("", False),
        ("M", True),
        ("U", True),
        ("C", False),
        ("MC", True),
        ("MCC", False),
        ("UCC", False),
        ("MCMC", True),
        ("MCUC", True),
        ("MCCM", True),
        ("MCCU", True),
        ("MCCCCCUC", True),
    ],
)
def test_an_endpoint_is_picked_while_it_answers(events: str, is_reachable: bool) -> None:
    store = store_of(make_endpoint("a"), make_endpoint("alive"))
    store.scrape_succeeded("default/alive", metrics())
    play(store, "default/a", events)
    assert names(store) == (["a", "alive"] if is_reachable else ["alive"])


def play(store: Datastore, endpoint_id: str, events: str, queue: int = 1) -> None:
    for event in events:
        store.candidates()  # the snapshot is kept; every event must see to it itself
        match event:
            case "M":
                store.scrape_succeeded(endpoint_id, metrics(waiting_queue_size=queue))
            case "U":
                store.scrape_unreadable(endpoint_id)
            case "C":
                store.connection_failed(endpoint_id)
            case "P":
                store.passed_over(endpoint_id)
            case "+":
                store.put_endpoint(make_endpoint(endpoint_id.removeprefix("default/")))
            case "-":
                store.remove_endpoint(endpoint_id)


def test_when_nobody_answers_everybody_is_a_candidate() -> None:
    store = store_of(*endpoints(0, 0))
    assert names(store) == ["a", "b"]
    play(store, "default/a", "MCC")
    assert names(store) == ["a", "b"]
    play(store, "default/b", "U")
    assert names(store) == ["b"]


def test_a_server_without_readable_metrics_is_scored_like_the_mean_of_the_others() -> None:
    store = store_of(*endpoints(0, 0, 0))
    store.scrape_succeeded(
        "default/a",
        metrics(
            waiting_queue_size=2,
            running_requests=4,
            kv_cache_ratio=0.2,
            max_active_models=3,
            updated_at=7.0,
        ),
    )
    store.scrape_succeeded(
        "default/b", metrics(waiting_queue_size=6, running_requests=6, kv_cache_ratio=0.6)
    )
    store.scrape_unreadable("default/c")
    a, b, c = store.candidates()
    assert (a.metrics.waiting_queue_size, b.metrics.waiting_queue_size) == (2, 6)
    assert c.metrics == metrics(
        waiting_queue_size=4,
        running_requests=5,
        kv_cache_ratio=pytest.approx(0.4),
        max_active_models=2,
        updated_at=None,  # they are nobody's, so they are never fresh
    )
    assert store.metrics_of("default/c") == metrics()


def test_metrics_once_read_stay_when_a_later_page_is_unreadable() -> None:
    store = store_of(*endpoints(0, 0))
    store.scrape_succeeded("default/a", metrics(waiting_queue_size=9))
    store.scrape_succeeded("default/b", metrics(waiting_queue_size=1))
    store.scrape_unreadable("default/a")
    assert [e.metrics.waiting_queue_size for e in store.candidates()] == [9, 1]
    store.scrape_unreadable("default/a")
    assert [e.metrics.waiting_queue_size for e in store.candidates()] == [1, 1]


def test_one_that_comes_back_unreadable_is_not_taken_for_what_it_was() -> None:
    store = store_of(*endpoints(0, 0))
    store.scrape_succeeded("default/a", metrics(waiting_queue_size=0))
    store.scrape_succeeded("default/b", metrics(waiting_queue_size=8))
    play(store, "default/a", "CCU")
    assert [e.metrics.waiting_queue_size for e in store.candidates()] == [8, 8]


def test_a_scrape_that_timed_out_counts_at_once() -> None:
    store = store_of(*endpoints(0, 0))
    store.scrape_succeeded("default/a", metrics())
    store.scrape_succeeded("default/b", metrics())
    store.connection_failed("default/a", timed_out=True)
    assert names(store) == ["b"]


def test_within_a_subset_an_unreachable_endpoint_serves_when_no_other_is_left() -> None:
    store = store_of(*endpoints(0, 0, 0))
    store.scrape_succeeded("default/a", metrics())
    assert [e.name for e in store.candidates(["10.0.0.3:8000"])] == ["c"]
    assert [e.name for e in store.candidates(["10.0.0.3", "10.0.0.1"])] == ["a"]
    assert store.candidates([]) == ()


def test_the_unreachable_do_not_count_for_the_mean() -> None:
    store = store_of(*endpoints(0, 0, 0))
    store.scrape_succeeded("default/a", metrics(waiting_queue_size=100))
    play(store, "default/a", "CC")
    store.scrape_succeeded("default/b", metrics(waiting_queue_size=2))
    store.scrape_unreadable("default/c")
    assert [e.metrics.waiting_queue_size for e in store.candidates()] == [2, 2]


def test_without_any_metrics_all_are_equal() -> None:
    store = store_of(*endpoints(0, 0))
    store.scrape_unreadable("default/a")
    store.scrape_unreadable("default/b")
    assert [e.metrics for e in store.candidates()] == [metrics(), metrics()]


def test_a_snapshot_stays_as_it_was() -> None:
    store = store_of(*endpoints(3, 4))
    before = store.candidates()
    store.scrape_succeeded("default/a", metrics(waiting_queue_size=7))
    store.remove_endpoint("default/b")
    assert [(e.name, e.metrics.waiting_queue_size) for e in before] == [("a", 3), ("b", 4)]
    assert store.candidates() is store.candidates()


class Listener:
    """Remembers who came and who went."""

    def __init__(self, store: Datastore) -> None:
        self.events: list[str] = []
        store.subscribe(added=self.added, removed=self.removed)

    def added(self, endpoint: Endpoint) -> None:
        self.events.append(f"+{endpoint.name}@{endpoint.port}")

    def removed(self, endpoint_id: str) -> None:
        self.events.append(f"-{endpoint_id}")


def test_a_subscriber_hears_of_those_here_already_and_of_every_change() -> None:
    a, b, c = endpoints(0, 0, 0)
    store = store_of(a, b)
    listener = Listener(store)
    store.set_endpoints([b, c])
    store.set_endpoints([b, c])
    assert listener.events == ["+a@8000", "+b@8000", "-default/a", "+c@8000"]
    store.remove_endpoint("default/nobody")
    store.unsubscribe(added=listener.added, removed=listener.removed)
    store.set_endpoints([])
    assert len(listener.events) == 4


@pytest.mark.parametrize(
    "moved",
    [make_endpoint("a", port=8001), make_endpoint("a", address="10.0.0.9")],
    ids=["port", "address"],
)
def test_a_moved_endpoint_is_a_new_one(moved: Endpoint) -> None:
    store = store_of(make_endpoint("a"), make_endpoint("other"))
    for name in ("default/a", "default/other"):
        store.scrape_succeeded(name, metrics(waiting_queue_size=5))
    listener = Listener(store)
    listener.events.clear()
    store.put_endpoint(moved)
    assert listener.events == ["-default/a", f"+a@{moved.port}"]
    assert store.metrics_of("default/a") == metrics()
    assert names(store) == ["other"]


def test_new_labels_keep_what_is_known() -> None:
    store = store_of(make_endpoint("a"))
    store.scrape_succeeded("default/a", metrics(waiting_queue_size=5))
    listener = Listener(store)
    store.candidates()
    store.put_endpoint(make_endpoint("a", labels={"zone": "x"}))
    (a,) = store.candidates()
    assert (a.labels, a.metrics.waiting_queue_size) == ({"zone": "x"}, 5)
    assert listener.events == ["+a@8000"]


def test_of_two_entries_with_one_id_the_last_counts() -> None:
    store = store_of(make_endpoint("a"), make_endpoint("a", port=9000))
    assert [e.port for e in store.endpoints()] == [9000]


def test_news_of_an_unknown_endpoint_is_ignored() -> None:
    store = store_of(make_endpoint("a"))
    play(store, "default/gone", "MUC")
    assert names(store) == ["a"]
    assert store.metrics_of("default/gone") is None


def test_an_empty_pool_has_no_candidates() -> None:
    store = Datastore()
    assert store.candidates() == ()
    store.set_endpoints(endpoints(1))
    store.set_endpoints([])
    assert (store.candidates(), list(store.endpoints())) == ((), [])


def test_the_pool_comes_and_goes() -> None:
    store = Datastore()
    assert store.pool is None
    store.set_pool(Pool(name="p", namespace="n"))
    assert store.pool == Pool(name="p", namespace="n")
    store.set_pool(None)
    assert store.pool is None


@pytest.mark.parametrize(("objective", "priority"), [("high", 5), ("low", -1), ("", 0), ("x", 0)])
def test_an_objective_has_a_priority(objective: str, priority: int) -> None:
    store = Datastore()
    store.set_priorities({"high": 5, "low": -1})
    assert store.priority(objective) == priority


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("MUC")), max_size=20))
def test_a_pool_with_endpoints_always_has_candidates(events: list[tuple[str, str]]) -> None:
    store = store_of(*endpoints(0, 0, 0))
    for name, event in events:
        play(store, f"default/{name}", event)
        assert store.candidates()
        assert {e.id for e in store.candidates()} <= {e.id for e in store.endpoints()}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("MMMUCP+-"), st.integers(0, 9))))
def test_a_snapshot_kept_up_to_date_equals_one_made_anew(
    events: list[tuple[str, str, int]],
) -> None:
    def state(store: Datastore) -> list[tuple[str, EndpointMetrics]]:
        return [(endpoint.id, endpoint.metrics) for endpoint in store.candidates()]

    clock = FakeClock()
    store, plain = Datastore(clock), Datastore(clock)
    for each in (store, plain):
        each.set_endpoints(endpoints(0, 0, 0))
    for name, event, queue in events:
        clock.advance(PASSED_OVER_SECONDS / 3)
        for each in (store, plain):
            play(each, f"default/{name}", event, queue)
        # what makes the plain one forget all it has
        plain.put_endpoint(make_endpoint("new"))
        plain.remove_endpoint("default/new")
        assert state(store) == state(plain)


def test_what_completes_metrics_says_nothing_of_reachability() -> None:
    store = store_of(make_endpoint("a"), make_endpoint("b"))
    store.metrics_completed("default/a", metrics(attributes={"x/y": 1.0}))
    store.metrics_completed("default/gone", metrics())
    store.scrape_succeeded("default/b", metrics(waiting_queue_size=4))
    assert names(store) == ["b"]
    store.scrape_unreadable("default/a")
    taken_for, _ = store.candidates()
    assert taken_for.metrics.waiting_queue_size == 4
    assert taken_for.metrics.attributes == {"x/y": 1.0}
    store.metrics_completed("default/b", metrics(waiting_queue_size=5))
    assert [e.metrics.waiting_queue_size for e in store.candidates()] == [5, 5]


def test_a_subscriber_may_hear_of_new_labels() -> None:
    store = store_of(make_endpoint("a"))
    heard: list[Endpoint] = []
    follow: dict[str, Any] = {
        "added": lambda _endpoint: None,
        "removed": lambda _id: None,
        "relabelled": heard.append,
    }
    store.subscribe(**follow)
    store.put_endpoint(make_endpoint("a"))
    assert heard == []
    store.put_endpoint(make_endpoint("a", labels={"x": "y"}))
    assert [endpoint.labels for endpoint in heard] == [{"x": "y"}]
    store.unsubscribe(**follow)
    store.put_endpoint(make_endpoint("a"))
    assert len(heard) == 1


def test_an_endpoint_that_nobody_else_can_stand_in_for_is_a_candidate_whatever_is_known() -> None:
    store = Datastore(FakeClock())
    for name, role in (("d", "decode"), ("p", "prefill"), ("q", "prefill")):
        store.put_endpoint(make_endpoint(name, labels={"llm-d.ai/role": role}))
    store.scrape_succeeded("default/p", EndpointMetrics())
    assert [e.name for e in store.candidates()] == ["d", "p"]
    store.passed_over("default/p")
    assert [e.name for e in store.candidates()] == ["d", "p", "q"]
    store.scrape_succeeded("default/d", EndpointMetrics())
    assert [e.name for e in store.candidates()] == ["d", "p", "q"]
