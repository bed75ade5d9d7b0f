from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoint import Endpoint
from epp.prefixcache.bursts import BurstRequest, Placement
from tests.fakes import endpoints, make_endpoint


def place(
    requests: Sequence[BurstRequest],
    among: Sequence[Endpoint],
    *,
    most: int | None = None,
    shared: int = 0,
    by_blocks: bool = False,
) -> list[str]:
    Placement(among, max_per_endpoint=most, min_shared_blocks=shared, by_blocks=by_blocks).assign(
        requests
    )
    return [request.assigned.removeprefix("default/") for request in requests]


def of(*hashes: int) -> BurstRequest:
    return BurstRequest([list(hashes)])


A, AB, AC, B = (1, 2, 3), (1, 2, 4), (1, 2, 5), (9, 8)


@pytest.mark.parametrize(
    ("prompts", "options", "expected"),
    [
        ([A, A, A], {}, ["a", "a", "a"]),
        ([A], {}, [""]),
        ([A, B], {}, ["", ""]),
        ([A, A, B, B], {}, ["a", "a", "b", "b"]),
        ([B, B, A, A], {}, ["b", "b", "a", "a"]),  # the longer first
        ([A, A, A], {"most": 2}, ["a", "a", "b"]),
        ([A, A, A, A, A], {"most": 2}, ["a", "a", "b", "b", "a"]),
        ([A, AB], {}, ["", ""]),
        ([A, AB], {"shared": 3}, ["", ""]),
        ([A, AB, B], {"shared": 2}, ["a", "b", ""]),  # more than a fair share at one
        ([A, A, AB, AB, B, B], {"shared": 2}, ["a", "a", "a", "a", "b", "b"]),
        ([A, A, AB, AB], {"shared": 2, "by_blocks": True}, ["a", "a", "b", "b"]),
        ([A, A, AB, AB, AC, AC], {"shared": 2, "by_blocks": True}, ["a"] * 6),
    ],
)
def test_equal_prompts_go_together_and_the_burst_is_spread(
    prompts: list[tuple[int, ...]], options: dict[str, Any], expected: list[str]
) -> None:
    assert place([of(*prompt) for prompt in prompts], endpoints(0, 0), **options) == expected


def test_ties_go_to_the_endpoint_that_runs_fewer_requests() -> None:
    busy, idle = make_endpoint("a", running_requests=3), make_endpoint("b", running_requests=1)
    assert place([of(1), of(1)], [busy, idle]) == ["b", "b"]


def test_several_prompts_are_told_apart_from_one_with_the_same_end() -> None:
    one, other = BurstRequest([[1], [2]]), BurstRequest([[3], [2]])
    assert place([one, other], endpoints(0)) == ["", ""]
    assert place([one, BurstRequest([[1], [2]])], endpoints(0)) == ["a", "a"]
    assert BurstRequest([[1, 2], [3, 4]]).start(3) == (2, 3)


def test_nobody_is_placed_where_there_is_nobody() -> None:
    assert place([of(1), of(1)], []) == ["", ""]


@given(
    st.lists(st.sampled_from([A, AB, AC, B, (9,), (7, 7, 7, 7)]), max_size=30),
    st.integers(1, 4),
    st.none() | st.integers(1, 3),
    st.integers(0, 3),
    st.booleans(),
)
def test_every_unit_is_placed_and_none_beyond_its_limit(
    prompts: list[tuple[int, ...]],
    count: int,
    most: int | None,
    shared: int,
    by_blocks: bool,
) -> None:
    among = endpoints(*[0] * count)
    found = place(
        [of(*prompt) for prompt in prompts], among, most=most, shared=shared, by_blocks=by_blocks
    )
    numbers = Counter(prompts)
    for prompt, name in zip(prompts, found, strict=True):
        assert name or numbers[prompt] == 1
        assert not name or f"default/{name}" in {endpoint.id for endpoint in among}
    for (prompt, name), number in Counter(zip(prompts, found, strict=True)).items():
        if most is not None and name and numbers[prompt] <= most * count:
            assert number <= most
