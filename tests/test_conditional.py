from __future__ import annotations

import pytest

from epp.conditional import check_cached
from epp.core.data import PREFIX_MATCH, PrefixMatch
from epp.core.decision import SchedulingResult
from epp.core.errors import PreconditionFailedError
from epp.core.request import InferenceRequest
from tests.fakes import endpoints, make_request, make_run

A, B = endpoints(1, 2)
TO_A = SchedulingResult("p", {"p": make_run(A, B, picked=[A])})
TO_NOBODY = SchedulingResult("p", {"p": None})
NOTHING_SEEN = PrefixMatch(total_blocks=4, block_bytes=64, matched_blocks={B.id: 4})
ONE_SEEN = PrefixMatch(total_blocks=4, block_bytes=64, matched_blocks={A.id: 1})


def preferring(value: bytes | None, **matches: PrefixMatch) -> InferenceRequest:
    request = make_request(headers={} if value is None else {"prefer": value})
    for producer, match in matches.items():
        request.data.set(PREFIX_MATCH.of(producer), match)
    return request


@pytest.mark.parametrize(
    "prefer",
    [
        b"if-available",
        b" IF-Available ",
        b"if-available;wait=1",
        b"respond-async, if-available ; x",
        b"wait=10,if-available,",
    ],
)
def test_an_endpoint_that_has_seen_nothing_is_no_answer_to_a_preference(prefer: bytes) -> None:
    with pytest.raises(PreconditionFailedError) as raised:
        check_cached(preferring(prefer, default=NOTHING_SEEN), TO_A)
    assert raised.value.status == 412
    assert raised.value.message == "no decode worker has the requested KV cache"


@pytest.mark.parametrize(
    "prefer", [None, b"", b"if-available-now", b"wait;if-available", b"if-available=1", b"\xff"]
)
def test_without_the_preference_any_endpoint_will_do(prefer: bytes | None) -> None:
    check_cached(preferring(prefer, default=NOTHING_SEEN), TO_A)


def test_one_cached_block_is_enough() -> None:
    check_cached(preferring(b"if-available", default=ONE_SEEN), TO_A)


def test_every_producer_is_heard() -> None:
    check_cached(preferring(b"if-available", default=NOTHING_SEEN, precise=ONE_SEEN), TO_A)
    with pytest.raises(PreconditionFailedError):
        check_cached(preferring(b"if-available", precise=NOTHING_SEEN), TO_A)


def test_where_nobody_knows_the_caches_every_request_may_go_on() -> None:
    check_cached(preferring(b"if-available"), TO_A)


def test_a_decision_without_endpoint_is_for_others_to_refuse() -> None:
    check_cached(preferring(b"if-available", default=NOTHING_SEEN), TO_NOBODY)
