import asyncio
import io
import json
import re

import pytest
from aiohttp import ClientSession

from epp.simulator.modelserver import Identity
from epp.simulator.tokens import token_id
from tests.simulator.fakes import (
    ISTIO,
    MODEL,
    FakeTime,
    Gate,
    client_of,
    events,
    gauge,
    model_server,
    until,
)

ASKED = {
    "model": "reviews-1",
    "prompt": "What do reviewers think about The Comedy of Errors?",
    "max_tokens": 100,
    "temperature": 0,
}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"


async def test_the_documented_run_gets_the_documented_answer() -> None:
    async with client_of(model_server(*ISTIO)) as client:
        response = await client.post("/v1/completions", json=ASKED)
        body = await response.text()
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["x-inference-pod"] == "vllm-0"
    assert response.headers["x-inference-port"] == "8000"
    assert "x-inference-namespace" not in response.headers
    assert re.fullmatch(
        rf'\{{"id":"cmpl-{UUID}","created":1763493214,"model":"reviews-1",'
        r'"usage":\{"prompt_tokens":10,"completion_tokens":\d+,"total_tokens":\d+\},'
        r'"object":"text_completion","kv_transfer_params":null,'
        r'"choices":\[\{"index":0,"finish_reason":"(stop|length)","text":"[^"]+"\}\]\}',
        body,
    )
    usage = json.loads(body)["usage"]
    assert usage["total_tokens"] == 10 + usage["completion_tokens"]


async def test_an_unknown_model_is_not_found() -> None:
    async with client_of(model_server(*ISTIO)) as client:
        response = await client.post("/v1/chat/completions", json={"model": "x"})
        assert response.status == 404
        assert await response.text() == (
            '{"error":{"message":"The model `x` does not exist.","type":"NotFoundError",'
            '"param":null,"code":404}}'
        )
        assert "x-inference-pod" not in response.headers


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"prompt": 5}', b'{"max_tokens": "x"}', b"\xff"]
)
async def test_an_unreadable_body_is_a_bad_request(body: bytes) -> None:
    async with client_of(model_server()) as client:
        response = await client.post("/v1/completions", data=body)
        error = (await response.json())["error"]
    assert (response.status, error["type"], error["code"]) == (400, "BadRequestError", 400)


async def test_a_body_of_some_megabytes_is_read() -> None:
    async with client_of(model_server("--max-model-len", "3000000")) as client:
        asked = {"model": "base", "prompt": "x" * 5_000_000, "max_tokens": 1}
        body = io.BytesIO(json.dumps(asked).encode())
        response = await client.post("/v1/completions", data=body)
        assert (await response.json())["usage"]["prompt_tokens"] == 1


async def test_a_chat_is_answered_with_a_message() -> None:
    asked = {"model": "base", "messages": [{"role": "user", "content": "hi"}], "tools": [{}]}
    async with client_of(model_server()) as client:
        body = await (await client.post("/v1/chat/completions", json=asked)).json()
    assert re.fullmatch(f"chatcmpl-{UUID}", body["id"])
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"


async def test_a_completion_stream_is_one_event_per_token() -> None:
    asked = {"model": "base", "prompt": "a b c", "stream": True}
    async with client_of(model_server("--mode", "echo")) as client:
        response = await client.post("/v1/completions", json=asked)
        *chunks, done = events(await response.text())
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["x-inference-pod"] == "vllm-0"
    assert done == "[DONE]"
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    told = [(choice["text"], choice["finish_reason"]) for choice in choices]
    assert told == [("a ", None), ("b ", None), ("c", None), ("", "stop")]


async def test_a_cut_answer_carries_its_reason_on_the_last_token() -> None:
    asked = {"model": "base", "prompt": "a b", "stream": True, "max_tokens": 2}
    async with client_of(model_server("--mode", "echo")) as client:
        body = await (await client.post("/v1/completions", json=asked)).text()
    choices = [json.loads(chunk)["choices"][0] for chunk in events(body)[:-1]]
    assert [choice["finish_reason"] for choice in choices] == [None, "length"]


async def test_a_chat_stream_has_role_tokens_reason_and_usage() -> None:
    asked = {
        "model": "base",
        "messages": [{"role": "user", "content": "a b"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with client_of(model_server("--mode", "echo")) as client:
        body = await (await client.post("/v1/chat/completions", json=asked)).text()
    *chunks, usage, done = events(body)
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "a "},
        {"content": "b"},
        {},
    ]
    assert (json.loads(usage)["choices"], json.loads(usage)["usage"]["prompt_tokens"]) == ([], 2)
    assert done == "[DONE]"


async def test_an_empty_answer_still_has_a_reason() -> None:
    asked = {"model": "base", "prompt": "", "stream": True}
    async with client_of(model_server("--mode", "echo")) as client:
        chunk, done = events(await (await client.post("/v1/completions", json=asked)).text())
    assert json.loads(chunk)["choices"] == [{"index": 0, "finish_reason": "stop", "text": ""}]
    assert done == "[DONE]"


async def test_the_role_comes_after_the_time_to_first_token() -> None:
    gate = Gate()
    server = model_server("--time-to-first-token", "1s", time=gate)
    asked = {"model": "base", "messages": [], "stream": True}
    async with client_of(server) as client, asyncio.TaskGroup() as tasks:

        async def read() -> bytes:
            async with client.post("/v1/chat/completions", json=asked) as response:
                return await response.content.readuntil(b"\n\n")

        first = tasks.create_task(read())
        await until(lambda: gauge(server, "vllm:num_requests_running") == 1)
        assert not first.done()
        gate.opened.set()
        assert b'"role":"assistant"' in await first


async def test_a_forced_cache_threshold_is_an_empty_answer() -> None:
    asked = {"model": "base", "prompt": "a"}
    headers = {"X-Cache-Threshold-Finish-Reason": "true"}
    for flags, expected in ((["--enable-kvcache"], "cache_threshold"), ([], "stop")):
        async with client_of(model_server("--mode", "echo", *flags)) as client:
            response = await client.post("/v1/completions", json=asked, headers=headers)
            assert (await response.json())["choices"][0]["finish_reason"] == expected


async def test_a_prefill_tells_where_to_decode() -> None:
    asked = {
        "model": "base",
        "prompt": "a",
        "max_tokens": 1,
        "kv_transfer_params": {"do_remote_decode": True, "remote_host": None},
    }
    async with client_of(model_server()) as client:
        body = await (await client.post("/v1/completions", json=asked)).text()
    assert (
        '"kv_transfer_params":{"do_remote_decode":false,"do_remote_prefill":true,'
        '"remote_engine_id":"DUMMY_ID","remote_block_ids":["DUMMY_ID"],"remote_host":"DUMMY",'
        '"remote_port":1234,"tp_size":1}'
    ) in body
    assert '"finish_reason":"remote_decode"' in body


async def test_request_ids_are_taken_over_when_enabled() -> None:
    asked, headers = {"model": "base", "prompt": "a"}, {"X-Request-Id": "mine"}
    async with client_of(model_server("--enable-request-id-headers")) as client:
        response = await client.post("/v1/completions", json=asked, headers=headers)
        assert (await response.json())["id"] == "cmpl-mine"
        assert response.headers["X-Request-Id"] == "mine"
    async with client_of(model_server()) as client:
        response = await client.post("/v1/completions", json=asked, headers=headers)
        assert (await response.json())["id"] != "cmpl-mine"
        assert "X-Request-Id" not in response.headers


async def test_adapters_come_and_go() -> None:
    async with client_of(model_server(*ISTIO)) as client:
        for _ in range(2):
            lora = {"lora_name": "new", "lora_path": "/x"}
            response = await client.post("/v1/load_lora_adapter", json=lora)
            assert (response.status, await response.text()) == (200, "")
        models = (await (await client.get("/v1/models")).json())["data"]
        assert [(model["id"], model["root"], model["parent"]) for model in models] == [
            (MODEL, MODEL, None),
            ("reviews-1", "reviews-1", MODEL),
            ("new", "new", MODEL),
        ]
        for _ in range(2):
            response = await client.post("/v1/unload_lora_adapter", json={"lora_name": "new"})
            assert (response.status, await response.text()) == (200, "")
        asked = {"model": "new", "prompt": "a"}
        assert (await client.post("/v1/completions", json=asked)).status == 404
        assert (await client.post("/v1/load_lora_adapter", data=b"{")).status == 400


async def test_a_full_queue_is_too_many_requests_and_nobody_is_lost() -> None:
    gate = Gate()
    flags = ("--max-num-seqs", "1", "--max-waiting-queue-length", "1")
    server = model_server(*flags, "--time-to-first-token", "1s", time=gate)
    asked = {"model": "base", "prompt": "a"}
    async with client_of(server) as client, asyncio.TaskGroup() as tasks:

        async def ask() -> int:
            async with client.post("/v1/completions", json=asked) as response:
                return response.status

        first = tasks.create_task(ask())
        await until(lambda: gauge(server, "vllm:num_requests_running") == 1)
        second = tasks.create_task(ask())
        await until(lambda: gauge(server, "vllm:num_requests_waiting") == 1)
        async with client.post("/v1/completions", json=asked) as response:
            assert response.status == 429
            assert (await response.json())["error"]["type"] == "RateLimitError"
        gate.opened.set()
        assert (await first, await second) == (200, 200)
    assert gauge(server, "vllm:num_requests_running") == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_frees_its_slot_and_counts_as_abort(stream: bool) -> None:
    gate = Gate()
    server = model_server("--time-to-first-token", "1s", "--max-num-seqs", "1", time=gate)
    asked = {"model": "base", "prompt": "a", "stream": stream}
    async with client_of(server) as client, asyncio.TaskGroup() as tasks:

        async def ask() -> None:
            async with client.post("/v1/completions", json=asked) as response:
                await response.read()

        running = tasks.create_task(ask())
        await until(lambda: gauge(server, "vllm:num_requests_running") == 1)
        queued = tasks.create_task(ask())
        await until(lambda: gauge(server, "vllm:num_requests_waiting") == 1)
        queued.cancel()
        await until(lambda: gauge(server, "vllm:num_requests_waiting") == 0)
        running.cancel()
        await until(lambda: gauge(server, "vllm:num_requests_running") == 0)
    assert 'finish_reason="abort",model_name="base"} 2' in server.metrics_page().decode()


async def test_the_metrics_page_has_every_family_after_requests() -> None:

    async def ask(client: ClientSession) -> None:
        async with client.post("/v1/completions", json=ASKED) as response:
            await response.read()

    time = FakeTime()
    server = model_server(*ISTIO, "--max-num-seqs", "1", "--inter-token-latency", "5", time=time)
    async with client_of(server) as client, asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(ask(client))
    async with client_of(server) as client:
        response = await client.get("/metrics")
        page = await response.text()
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    names = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    assert names == {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "vllm:lora_requests_info",
        "vllm:cache_config_info",
        "vllm:time_to_first_token_seconds",
        "vllm:time_per_output_token_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm:e2e_request_latency_seconds",
        "vllm:request_queue_time_seconds",
        "vllm:request_inference_time_seconds",
        "vllm:request_prefill_time_seconds",
        "vllm:request_decode_time_seconds",
        "vllm:request_prompt_tokens",
        "vllm:request_generation_tokens",
        "vllm:max_num_generation_tokens",
        "vllm:request_params_max_tokens",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
    }
    assert 'running_lora_adapters="reviews-1",waiting_lora_adapters="reviews-1"' in page


async def test_told_metrics_replace_the_measured_ones() -> None:
    server = model_server("--fake-metrics", '{"waiting-requests": 42}')
    async with client_of(server) as client:
        page = await (await client.get("/metrics")).text()
    assert 'vllm:num_requests_waiting{model_name="base"} 42' in page


async def test_tokens_have_ids() -> None:
    async with client_of(model_server()) as client:
        body = await (await client.post("/tokenize", json={"prompt": "a b"})).text()
        both = await client.post("/tokenize", json={"prompt": "a", "messages": []})
    ids = f"[{token_id('a ')},{token_id('b')}]"
    assert body == f'{{"max_model_len":1024,"count":2,"tokens":{ids},"token_strs":null}}'
    assert both.status == 400


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/health", 200, "{}"),
        ("/ready", 200, "{}"),
        ("/ping", 200, ""),
        ("/is_sleeping", 200, '{"is_sleeping":false}'),
        ("/version", 200, '{"version":"0.7.1+epp.simulator"}'),
        ("/v1/completions", 405, "Method Not Allowed"),
        ("/nowhere", 404, "Not Found"),
        ("/", 404, "Not Found"),
    ],
)
async def test_simple_paths_have_simple_answers(path: str, status: int, body: str) -> None:
    async with client_of(model_server()) as client, client.get(path) as response:
        assert (response.status, await response.text()) == (status, body)


@pytest.mark.parametrize(
    ("flags", "is_development", "sleeps"),
    [
        (["--enable-sleep-mode"], True, True),
        (["--enable-sleep-mode"], False, False),
        ([], True, False),
    ],
)
async def test_sleeping_needs_the_flag_and_the_environment(
    flags: list[str], is_development: bool, sleeps: bool
) -> None:
    server = model_server(*flags)
    async with client_of(server, is_development=is_development) as client:
        assert (await client.post("/sleep")).status == 200
        assert server.is_sleeping == sleeps
        asked = {"model": "base", "prompt": "a"}
        assert (await client.post("/v1/completions", json=asked)).status == 200
        assert (await client.post("/wake_up?tags=weights")).status == 200
        assert not server.is_sleeping


async def test_injected_failures_are_answered_before_anything_is_read() -> None:
    flags = ("--failure-injection-rate", "100", "--failure-types", "server_error")
    async with client_of(model_server(*flags)) as client:
        response = await client.post("/v1/completions", data=b"{")
        assert response.status == 503


async def test_without_a_pod_name_nobody_signs() -> None:
    async with client_of(model_server(identity=Identity(8000, "", "ns"))) as client:
        response = await client.post("/v1/completions", json={"model": "base", "prompt": "a"})
    assert response.headers["x-inference-namespace"] == "ns"
    assert not {"x-inference-pod", "x-inference-port"} & set(response.headers)
