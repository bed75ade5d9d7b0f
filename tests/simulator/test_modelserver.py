import asyncio

import pytest

from epp.simulator.errors import ApiError
from epp.simulator.generation import Job
from epp.simulator.modelserver import ModelServer, identities
from epp.simulator.requests import ChatRequest, CompletionRequest, KVTransferParams, Message
from epp.simulator.text import FinishReason
from tests.simulator.fakes import FakeTime, gauge, model_server, options

LONG = "word " * 320
CACHED = (
    *("--enable-kvcache", "--prefill-time-per-token", "1ms", "--block-size", "16"),
    *("--kv-cache-size", "40"),
)


def accept(
    server: ModelServer,
    prompt: str = "hello",
    *,
    model: str = "base",
    max_tokens: int | None = None,
    cache_hit_threshold: float | None = None,
    transfer: KVTransferParams | None = None,
) -> Job:
    request = CompletionRequest(
        model=model,
        prompt=prompt,
        max_tokens=max_tokens,
        cache_hit_threshold=cache_hit_threshold,
        kv_transfer_params=transfer,
    )
    return server.accept(request)


async def answer(server: ModelServer, job: Job) -> tuple[FinishReason, int]:
    async with server.running(job) as generation:
        await generation.prefill()
        await generation.remaining_tokens()
        return generation.finish_reason, len(generation.tokens)


async def test_without_latency_nothing_sleeps() -> None:
    time = FakeTime()
    server = model_server(time=time)
    await answer(server, accept(server))
    assert time.slept == []


async def test_cached_blocks_shorten_the_time_to_first_token() -> None:
    time = FakeTime()
    server = model_server(*CACHED, time=time)
    await answer(server, accept(server, LONG))
    await answer(server, accept(server, LONG + "and a new end"))
    assert time.slept == [0.32, 0.004]
    assert gauge(server, "vllm:prefix_cache_hits_total") == 320


async def test_chats_use_the_cache_too() -> None:
    time = FakeTime()
    server = model_server(*CACHED, time=time)
    chat = ChatRequest(model="base", messages=[Message("user", LONG.strip())])
    await answer(server, server.accept(chat))
    await answer(server, accept(server, LONG))
    assert time.slept == [0.32]


async def test_adapters_do_not_share_blocks() -> None:
    time = FakeTime()
    server = model_server(*CACHED, "--lora-modules", '{"name": "lora"}', time=time)
    await answer(server, accept(server, LONG))
    await answer(server, accept(server, LONG, model="lora"))
    assert time.slept == [0.32, 0.32]


async def test_blocks_are_used_while_the_request_runs() -> None:
    server = model_server(*CACHED)
    async with server.running(accept(server, LONG)):
        assert gauge(server, "vllm:kv_cache_usage_perc") == 0.5
        assert gauge(server, "vllm:num_requests_running") == 1
    assert gauge(server, "vllm:kv_cache_usage_perc") == 0
    assert gauge(server, "vllm:num_requests_running") == 0


async def test_a_prompt_too_large_for_the_cache_frees_its_slot() -> None:
    server = model_server(*CACHED, "--kv-cache-size", "3", "--max-num-seqs", "1")
    for _ in range(2):
        with pytest.raises(ApiError, match="sufficient capacity"):
            await answer(server, accept(server, LONG))
    assert gauge(server, "vllm:num_requests_running") == 0
    assert (await answer(server, accept(server)))[1] > 0


async def test_a_cold_cache_below_the_threshold_answers_nothing_at_once() -> None:
    time = FakeTime()
    server = model_server(*CACHED, time=time)
    cold = await answer(server, accept(server, LONG, cache_hit_threshold=0.5))
    assert (cold, time.slept) == ((FinishReason.CACHE_THRESHOLD, 0), [])
    await answer(server, accept(server, LONG))
    warm = await answer(server, accept(server, LONG, cache_hit_threshold=0.5))
    assert warm[0] is not FinishReason.CACHE_THRESHOLD


async def test_sleep_empties_the_cache_and_waking_fills_it_again() -> None:
    time = FakeTime()
    server = model_server(*CACHED, time=time)
    await answer(server, accept(server, LONG))
    server.fall_asleep()
    await answer(server, accept(server, LONG))
    server.wake_up(["weights"])
    await answer(server, accept(server, LONG))
    server.wake_up([])
    await answer(server, accept(server, LONG))
    await answer(server, accept(server, LONG))
    assert time.slept == [0.32] * 4
    assert not server.is_sleeping


async def test_tokens_come_one_by_one_when_they_take_time() -> None:
    time = FakeTime()
    server = model_server("--inter-token-latency", "20", "--time-to-first-token", "1s", time=time)
    job = accept(server, max_tokens=4)
    tokens: list[int] = []
    async with server.running(job) as generation:
        await generation.prefill()
        while not generation.is_complete:
            tokens.append(len(await generation.next_tokens()))
    assert tokens == [1] * len(job.text.tokens)
    assert time.slept == [1.0] + [0.02] * (len(tokens) - 1)


async def test_tokens_without_delay_come_together() -> None:
    server = model_server()
    job = accept(server, max_tokens=50)
    async with server.running(job) as generation:
        await generation.prefill()
        assert list(await generation.next_tokens()) == job.text.tokens
        assert generation.is_complete


async def test_a_whole_answer_is_one_wait_for_its_tokens() -> None:
    time = FakeTime()
    server = model_server("--inter-token-latency", "20", "--mode", "echo", time=time)
    assert (await answer(server, accept(server, "a b c d e")))[1] == 5
    assert time.slept == [0.08]
    assert gauge(server, "vllm:inter_token_latency_seconds_count") == 4


async def test_a_late_wake_up_does_not_add_up() -> None:
    class LateTime(FakeTime):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            self.seconds += 0.005

    time = LateTime()
    server = model_server("--inter-token-latency", "20", "--mode", "echo", time=time)
    async with server.running(accept(server, "a b c d")) as generation:
        await generation.prefill()
        while not generation.is_complete:
            await generation.next_tokens()
    assert time.slept == [0.02, 0.015, 0.015]


async def test_an_empty_echo_is_an_empty_answer() -> None:
    server = model_server("--mode", "echo", "--inter-token-latency", "20")
    assert await answer(server, accept(server, "")) == (FinishReason.STOP, 0)


async def test_remote_prefill_waits_for_the_transfer_instead() -> None:
    time = FakeTime()
    flags = ("--time-to-first-token", "1s", "--kv-cache-transfer-latency", "30")
    server = model_server(*flags, time=time)
    await answer(server, accept(server, transfer=KVTransferParams(do_remote_prefill=True)))
    assert time.slept == [0.03]


async def test_remote_decode_is_the_reason_of_a_prefill() -> None:
    server = model_server()
    job = accept(server, max_tokens=1, transfer=KVTransferParams(do_remote_decode=True))
    assert await answer(server, job) == (FinishReason.REMOTE_DECODE, 1)


async def test_the_queue_time_is_counted_for_those_that_waited() -> None:
    time = FakeTime()
    server = model_server("--max-num-seqs", "1", "--time-to-first-token", "2s", time=time)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(answer(server, accept(server)))
    assert gauge(server, "vllm:request_queue_time_seconds_count") == 1
    assert gauge(server, "vllm:request_queue_time_seconds_sum") == 2
    assert gauge(server, "vllm:e2e_request_latency_seconds_sum") == 2 + 4
    assert gauge(server, "vllm:time_to_first_token_seconds_sum") == 4


def test_ids_differ_from_request_to_request_and_repeat_with_the_seed() -> None:
    first, second = model_server(), model_server()
    ids = [accept(first).id, accept(first).id]
    assert ids == [accept(second).id, accept(second).id]
    assert len(set(ids)) == 2


def test_the_model_itself_is_unknown_when_it_has_other_names() -> None:
    server = model_server("--served-model-name", "alias", "other")
    with pytest.raises(ApiError, match="The model `base` does not exist") as refused:
        accept(server)
    assert refused.value.status == 404
    assert server.heading(accept(server, model="other"), "cmpl-").model == "alias"


def test_replicas_have_names_and_data_parallel_ranks_only_ports() -> None:
    replicas = options("--model", "m", "--replicas", "2")
    names = [(i.pod_name, i.port) for i in identities(replicas, {})]
    assert names == [("sim-0", 8000), ("sim-1", 8001)]
    named = identities(replicas, {"POD_NAME": "vllm", "POD_NAMESPACE": "ns"})
    assert named[1].headers() == {
        "x-inference-pod": "vllm-1",
        "x-inference-port": "8001",
        "x-inference-namespace": "ns",
    }
    ranks = identities(options("--model", "m", "--data-parallel-size", "2"), {"POD_NAME": "p"})
    assert [(i.pod_name, i.port) for i in ranks] == [("p", 8000), ("p", 8001)]
    (rank,) = identities(
        options(*("--model", "m", "--data-parallel-size", "2", "--data-parallel-rank", "1")), {}
    )
    assert rank.headers() == {}
