from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
from collections.abc import Callable

import pytest
import uvloop

from epp.tls.certificates import CertificateError, KeyPair, make_self_signed
from epp.tls.contexts import METRICS, LiveContext, TlsRules, server_context
from tests.tls.handshakes import Authority, Seen, client_context, der, serving, shake_hands

ISTIO_NAME = "outbound|9002||endpoint-picker-svc.inference-model-server.svc.cluster.local"
V = ssl.TLSVersion


async def seen(rules: TlsRules, client: ssl.SSLContext, pair: KeyPair | None = None) -> Seen:
    async with serving(server_context(pair or make_self_signed(), rules)) as port:
        return await shake_hands(port, client)


@pytest.mark.parametrize(
    ("minimum", "client", "spoken"),
    [
        ("TLSv1_2", None, "TLSv1.3"),
        ("TLSv1_2", V.TLSv1_2, "TLSv1.2"),
        ("TLSv1_1", V.TLSv1_1, "TLSv1.1"),
        ("TLSv1", V.TLSv1, "TLSv1"),
        ("TLSv1_3", V.TLSv1_3, "TLSv1.3"),
    ],
)
async def test_versions_from_the_oldest_on_are_spoken(
    minimum: str, client: V | None, spoken: str
) -> None:
    saw = await seen(TlsRules(minimum=minimum), client_context(version=client))
    assert (saw.version, saw.protocol) == (spoken, "h2")


@pytest.mark.parametrize(
    ("minimum", "client"),
    [
        ("TLSv1_2", V.TLSv1_1),
        ("TLSv1_2", V.TLSv1),
        ("TLSv1_1", V.TLSv1),
        ("TLSv1_3", V.TLSv1_2),
    ],
)
async def test_older_versions_are_refused(minimum: str, client: V) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - whether an alert or a reset comes first is chance
        await seen(TlsRules(minimum=minimum), client_context(version=client))


async def test_suites_are_those_that_may_be_used_up_to_tls_12() -> None:
    suite = "ECDHE-ECDSA-AES256-GCM-SHA384"
    rules = TlsRules(suites=(suite, "ECDHE-ECDSA-RC4-SHA"))
    assert (await seen(rules, client_context(version=V.TLSv1_2))).cipher == suite
    assert (await seen(rules, client_context())).cipher.startswith("TLS_")


async def test_suites_of_rsa_need_such_a_key() -> None:
    rules = TlsRules(suites=("ECDHE-RSA-AES128-GCM-SHA256",))
    assert rules.demands_rsa
    assert not TlsRules().demands_rsa
    assert not TlsRules(suites=("ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA")).demands_rsa
    client = client_context(version=V.TLSv1_2)
    saw = await seen(rules, client, make_self_signed(is_rsa=True))
    assert saw.cipher == "ECDHE-RSA-AES128-GCM-SHA256"
    with pytest.raises(OSError):  # noqa: PT011
        await seen(rules, client)


async def test_with_suites_of_tls_13_only_nothing_older_is_spoken() -> None:
    rules = TlsRules(suites=())
    assert (await seen(rules, client_context())).version == "TLSv1.3"
    with pytest.raises(OSError):  # noqa: PT011
        await seen(rules, client_context(version=V.TLSv1_2))


def test_suites_that_openssl_lacks_are_refused() -> None:
    with pytest.raises(CertificateError, match="OpenSSL has none of the cipher suites NULL-MD6"):
        server_context(make_self_signed(), TlsRules(suites=("NULL-MD6",)))


async def test_the_metrics_port_offers_no_http2() -> None:
    saw = await seen(METRICS, client_context(protocols=["h2", "http/1.1"]))
    assert saw.protocol == "http/1.1"


async def test_a_client_must_show_a_certificate_of_the_authorities() -> None:
    authority, stranger = Authority(), Authority()
    ca = ssl.PEM_cert_to_DER_cert(authority.certificate.decode())
    context = server_context(make_self_signed(), METRICS, authorities=ca)
    async with serving(context) as port:
        await shake_hands(port, client_context(pair=authority.client()))
        for version in (V.TLSv1_2, V.TLSv1_3):
            for pair in (None, stranger.client(), make_self_signed()):
                with pytest.raises(OSError):  # noqa: PT011
                    await shake_hands(port, client_context(version=version, pair=pair))


async def exchange() -> None:
    """A context is exchanged while a connection is open."""
    old, new = make_self_signed(is_rsa=True), make_self_signed()
    live = LiveContext(server_context(old))
    async with serving(live) as port:
        for name in (None, "localhost", ISTIO_NAME):
            saw = await shake_hands(port, client_context(), name)
            assert (saw.certificate, saw.protocol) == (der(old), "h2")
        live.current = server_context(new)
        for version in (V.TLSv1_2, V.TLSv1_3):
            saw = await shake_hands(port, client_context(version=version))
            assert (saw.certificate, saw.protocol) == (der(new), "h2")


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_next_handshake_has_the_new_context(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(exchange())


def test_no_folder_need_be_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_args: object, **_options: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", nowhere)
    if sys.platform == "linux":
        server_context(make_self_signed())
    else:
        with pytest.raises(CertificateError, match="No usable temporary directory"):
            server_context(make_self_signed())
