from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from epp.telemetry import logs
from epp.tls.certificates import CertificateError, make_self_signed
from epp.tls.contexts import METRICS, TlsRules
from epp.tls.port import PortTls
from tests.http2.wire import eventually
from tests.tls.handshakes import Authority, client_context, der, serving, shake_hands, write_pair

POLL = 0.01


class LogLines:
    """What was logged since the start."""

    def __init__(self, stream: StringIO) -> None:
        self._stream = stream

    def of(self, level: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["level"] == level]

    def errors(self) -> list[str]:
        return [line["error"] for line in self.of("error")]


@pytest.fixture
def lines() -> Iterator[LogLines]:
    stream = StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.setup(stream=stream)
    yield LogLines(stream)
    root.handlers[:] = before
    root.setLevel(level)


@asynccontextmanager
async def following(port: PortTls) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(port.follow(poll_seconds=POLL))
        yield
        task.cancel()


async def test_new_handshakes_have_the_new_pair(tmp_path: Path, lines: LogLines) -> None:
    old, new = make_self_signed(), make_self_signed(is_rsa=True)
    write_pair(tmp_path, old)
    port = PortTls(TlsRules(), str(tmp_path))
    async with following(port), serving(port.context) as number:
        assert (await shake_hands(number, client_context())).certificate == der(old)
        write_pair(tmp_path, new)
        await eventually(lambda: port.pair == new)
        assert (await shake_hands(number, client_context())).certificate == der(new)
        await eventually(lambda: len(lines.of("info")) == 1)
    assert lines.of("info")[0]["msg"] == "Loaded the new certificate"
    assert lines.errors() == []


async def test_the_links_of_a_secret_are_followed(tmp_path: Path, lines: LogLines) -> None:
    pairs = {"..1": make_self_signed(), "..2": make_self_signed()}
    for version, pair in pairs.items():
        (tmp_path / version).mkdir()
        write_pair(tmp_path / version, pair)
    (tmp_path / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    port = PortTls(TlsRules(), str(tmp_path))
    assert port.pair == pairs["..1"]
    async with following(port):
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        await eventually(lambda: port.pair == pairs["..2"])
    assert lines.errors() == []


async def test_a_broken_pair_changes_nothing_and_is_told_once(
    tmp_path: Path, lines: LogLines
) -> None:
    good, other = make_self_signed(), make_self_signed()
    write_pair(tmp_path, good)
    port = PortTls(TlsRules(), str(tmp_path))
    context = port.context.current
    key = tmp_path / "tls.key"
    async with following(port):
        key.write_bytes(other.key)
        await eventually(lambda: len(lines.errors()) == 1)
        for _ in range(3):  # the same again
            (tmp_path / "new").write_bytes(other.key)
            (tmp_path / "new").replace(key)
            await asyncio.sleep(5 * POLL)
        assert len(lines.errors()) == 1
        key.write_bytes(make_self_signed().key)
        await eventually(lambda: f"{key}: is not the key of" in lines.errors()[-1])
        key.unlink()
        await eventually(lambda: lines.errors()[-1] == f"{key}: No such file or directory")
        assert port.pair == good
        assert port.context.current is context
        write_pair(tmp_path, other)
        await eventually(lambda: port.pair == other)


async def test_authorities_are_followed_too(tmp_path: Path, lines: LogLines) -> None:
    first, second = Authority(), Authority()
    write_pair(tmp_path, make_self_signed())
    ca = tmp_path / "ca.crt"
    ca.write_bytes(first.certificate)
    port = PortTls(METRICS, str(tmp_path), client_ca=str(ca))
    old, new = client_context(pair=first.client()), client_context(pair=second.client())
    async with following(port), serving(port.context) as number:
        await shake_hands(number, old)
        ca.write_bytes(second.certificate)
        await eventually(lambda: len(lines.of("info")) == 1)
        await shake_hands(number, new)
        with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset
            await shake_hands(number, old)


async def test_a_made_certificate_has_the_key_that_the_suites_demand() -> None:
    suite = "ECDHE-RSA-AES256-GCM-SHA384"
    async with serving(PortTls(TlsRules(suites=(suite,))).context) as number:
        saw = await shake_hands(number, client_context(version=ssl.TLSVersion.TLSv1_2))
        assert saw.cipher == suite


def test_files_that_cannot_be_used_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"tls\.crt: No such file or directory"):
        PortTls(TlsRules(), str(tmp_path))
    write_pair(tmp_path, make_self_signed())
    with pytest.raises(CertificateError, match=r"no-ca: No such file or directory"):
        PortTls(METRICS, str(tmp_path), client_ca=str(tmp_path / "no-ca"))
