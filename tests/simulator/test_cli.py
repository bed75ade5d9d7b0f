import asyncio
import os
import signal
import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import ClientSession

from epp.core.clock import Clock
from epp.simulator.cli import hosting, load_options, main
from epp.simulator.modelserver import identities
from epp.simulator.reading import OptionsError
from epp.simulator.tls import ssl_context
from tests.simulator.fakes import options


def two_free_ports() -> int:
    """The first of two neighbouring ports that nobody uses."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


async def test_replicas_answer_on_neighbouring_ports_with_their_own_state() -> None:
    port = two_free_ports()
    chosen = options(*("--model", "m", "--replicas", "2", "--host", "127.0.0.1"), f"--port={port}")
    hosted = identities(chosen, {})
    async with hosting(chosen, hosted, environment={}, clock=Clock()), ClientSession() as client:
        asked = {"model": "m", "prompt": "a"}
        for i in range(2):
            url = f"http://127.0.0.1:{port + i}"
            async with client.post(f"{url}/v1/completions", json=asked) as response:
                assert response.headers["x-inference-pod"] == f"sim-{i}"
                assert response.headers["x-inference-port"] == str(port + i)
            async with client.get(f"{url}/metrics") as response:
                page = await response.text()
            assert 'vllm:prompt_tokens_total{model_name="m"} 1' in page


async def test_https_with_a_self_made_certificate() -> None:
    port = two_free_ports()
    chosen = options(*("--model", "m", "--host", "127.0.0.1"), f"--port={port}")
    secure = options("--model", "m", "--self-signed-certs")
    tls = ssl_context(secure, datetime.now(UTC))
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    hosted = identities(chosen, {})
    async with (
        hosting(chosen, hosted, environment={}, clock=Clock(), tls=tls),
        ClientSession() as client,
        client.get(f"https://127.0.0.1:{port}/health", ssl=trusting) as response,
    ):
        assert response.status == 200


def test_without_tls_flags_there_is_plain_http() -> None:
    assert ssl_context(options("--model", "m"), datetime.now(UTC)) is None


def test_wrong_flags_are_told_and_end_with_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "x", "--max-loras", "0"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in told] == [
        ["epp simulator", "--port"],
        ["epp simulator", "--max-loras"],
    ]


def test_help_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--lora-modules" in capsys.readouterr().out


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        'model: from-file\nport: 9000\nlora-modules:\n- \'{"name":"a"}\'\nnew-flag: 1\n'
        "zmq-endpoint: tcp://x\ntime-to-first-token: 5\n"
    )
    chosen, notices = load_options(["--config", str(file), "--port=9001", "--tp", "2"], {})
    assert (chosen.model, chosen.port) == ("from-file", 9001)
    assert chosen.lora_modules[0].name == "a"
    assert chosen.time_to_first_token == 5_000_000
    assert len(notices) == 3
    assert notices[-1] == "--zmq-endpoint has no effect here yet"


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="--config"):
        load_options(["--model", "m", "--config", str(tmp_path / "none.yaml")], {})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_peace(number: signal.Signals) -> None:
    port = two_free_ports()

    async def stop_when_ready() -> None:
        async with ClientSession() as client:
            for _ in range(1000):
                try:
                    async with client.get(f"http://127.0.0.1:{port}/health"):
                        break
                except OSError:
                    await asyncio.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=asyncio.run, args=(stop_when_ready(),))
    thread.start()
    try:
        assert main(["--model", "m", "--host", "127.0.0.1", f"--port={port}"]) == 0
    finally:
        thread.join()


def test_a_port_in_use_ends_with_status_one(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--model", "m", "--host", "127.0.0.1", f"--port={port}"]) == 1
    assert "address already in use" in capsys.readouterr().err
