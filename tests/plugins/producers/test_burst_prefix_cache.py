from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from epp.core.data import (
    PREFIX_MATCH,
    TOKENIZED_PROMPT,
    PrefixMatch,
    PromptTokens,
    TokenizedPrompt,
)
from epp.core.endpoint import Endpoint
from epp.core.request import InferenceRequest
from epp.plugins.producers.burst_prefix_cache import (
    BurstPrefixCacheParams,
    BurstPrefixCacheProducer,
)
from tests.fakes import endpoints, make_handle, make_request

A, B = endpoints(0, 0)


def burst(**params: Any) -> BurstPrefixCacheProducer:
    return BurstPrefixCacheProducer(BurstPrefixCacheParams(**params), make_handle())


def tokens(*texts: bytes) -> InferenceRequest:
    request = make_request()
    prompts = tuple(PromptTokens(text) for text in texts)
    request.data.set(TOKENIZED_PROMPT.of(), TokenizedPrompt(prompts))
    return request


async def produce(
    producer: BurstPrefixCacheProducer,
    request: InferenceRequest,
    among: Sequence[Endpoint] = (A, B),
) -> PrefixMatch | None:
    waiting = producer.produce(request, among)
    if waiting is not None:
        await waiting
    return request.data.get(PREFIX_MATCH.of(producer.name))


async def together(
    producer: BurstPrefixCacheProducer, *texts: bytes
) -> list[tuple[str, int] | None]:
    """Whom each request matches, and with how many blocks; None without a match at all."""
    made = await asyncio.gather(*[produce(producer, tokens(text)) for text in texts])
    found: list[tuple[str, int] | None] = []
    for match in made:
        if match is None:
            found.append(None)
            continue
        assert match.block_tokens == 64
        found.append(next(iter(match.matched_blocks.items()), ("", 0)))
    return found


@pytest.mark.looptime
async def test_equal_prompts_of_a_window_match_one_endpoint_as_a_whole() -> None:
    long, short = b"aaaa" * 65, b"bbbb"
    loop = asyncio.get_running_loop()
    started = loop.time()
    found = await together(burst(), short, long, long, b"cccc", short)
    assert found == [(B.id, 1), (A.id, 2), (A.id, 2), ("", 0), (B.id, 1)]
    assert loop.time() - started == pytest.approx(0.1)


@pytest.mark.looptime
async def test_nobody_waits_longer_if_a_burst_cannot_be_placed() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    nobodies: Any = (None,)
    producer = burst()
    async with asyncio.timeout(0.2):
        match, _ = await asyncio.gather(
            *[produce(producer, tokens(b"aaaa"), nobodies) for _ in range(2)]
        )
    assert match == PrefixMatch(1, 256, {})


@pytest.mark.looptime
async def test_the_next_window_knows_nothing_of_the_last() -> None:
    producer = burst(window_duration_ms=50)
    assert await together(producer, b"aaaa", b"aaaa") == [(A.id, 1)] * 2
    assert await together(producer, b"aaaa") == [("", 0)]


@pytest.mark.looptime
async def test_who_gives_up_waiting_takes_nobody_along() -> None:
    producer = burst()
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(produce(producer, tokens(b"aaaa")))
        staying = group.create_task(produce(producer, tokens(b"aaaa")))
        await asyncio.sleep(0.01)
        leaving.cancel()
    match = staying.result()
    assert match is not None
    assert match.matched_blocks == {A.id: 1}


@pytest.mark.looptime
async def test_one_too_many_is_not_waited_for() -> None:
    producer = burst(max_batch_size=2)
    assert await together(producer, b"aaaa", b"aaaa", b"aaaa") == [(A.id, 1), (A.id, 1), None]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("params", "texts", "expected"),
    [
        ({"max_per_replica": 1}, [b"aaaa", b"aaaa"], [A.id, B.id]),
        ({"min_colocate_blocks": 1}, [b"a" * 256, b"a" * 300], [A.id, A.id]),
        ({}, [b"a" * 256, b"a" * 300], ["", ""]),
        ({"max_prefix_tokens_to_match": 64}, [b"a" * 256, b"a" * 300], [A.id, A.id]),
    ],
)
async def test_parameters_say_what_goes_together(
    params: dict[str, Any], texts: list[bytes], expected: list[str]
) -> None:
    if "min_colocate_blocks" in params:
        texts = [*texts, b"b" * 256, b"b" * 300]
        expected = [*expected, B.id, B.id]
    found = await together(burst(**params), *texts)
    assert sorted(one[0] for one in found if one) == sorted(expected)


@pytest.mark.parametrize(
    ("request_", "among"),
    [(make_request(), (A,)), (tokens(b""), (A,)), (tokens(b"aaaa"), ())],
)
async def test_nothing_to_match_is_not_waited_for(
    request_: InferenceRequest, among: tuple[Endpoint, ...]
) -> None:
    assert burst().produce(request_, among) is None


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({}, []),
        ({"max_per_replica": 0}, ["maxPerReplica"]),
        ({"max_batch_size": -2}, ["maxBatchSize"]),
        ({"max_prefix_tokens_to_match": 63}, ["maxPrefixTokensToMatch"]),
        ({"max_prefix_tokens_to_match": 64}, []),
    ],
)
def test_limits_that_make_no_sense_are_told(params: dict[str, Any], names: list[str]) -> None:
    made = BurstPrefixCacheParams(**params)
    assert [name for name, _ in made.problems()] == names


def test_it_may_wait_somewhat_longer_than_its_window() -> None:
    assert burst(window_duration_ms=2000).time_limit_seconds == pytest.approx(2.3)
