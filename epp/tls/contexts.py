"""The TLS of a port as OpenSSL wants it, and how it is exchanged while the port serves."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
import warnings

import msgspec

from epp.tls.certificates import CertificateError, KeyPair


class TlsRules(msgspec.Struct, frozen=True):
    """What a port demands of its clients.

    ``minimum`` is a member of ``ssl.TLSVersion``; ``suites`` are OpenSSL's names of what may be
    used up to TLS 1.2, None for its own choice; ``protocols`` is what is offered by ALPN.
    """

    minimum: str = "TLSv1_2"
    suites: tuple[str, ...] | None = None
    protocols: tuple[str, ...] = ("h2",)

    @property
    def demands_rsa(self) -> bool:
        """Whether no other key than one for RSA fits the suites."""
        return bool(self.suites) and not any("ECDSA" in name for name in self.suites or ())


GRPC = TlsRules()
METRICS = TlsRules(protocols=("http/1.1",))


def server_context(
    pair: KeyPair, rules: TlsRules = GRPC, *, authorities: bytes = b""
) -> ssl.SSLContext:
    """TLS for a server; clients must show a certificate where ``authorities`` (DER) are given.

    Raises:
        CertificateError: OpenSSL does not take the pair, or has none of the suites.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_rules(context, rules)
    try:
        _load(context, pair.key + b"\n" + pair.chain)
        if authorities:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=authorities)
    except ssl.SSLError as error:
        raise CertificateError(f"the certificate cannot be used: {error.reason}") from None
    except OSError as error:
        raise CertificateError(f"the certificate cannot be loaded: {error.strerror}") from None
    return context


class LiveContext(ssl.SSLContext):
    """A context whose ``current`` one can be exchanged: it is what the next handshake uses.

    asyncio and uvloop ask a context for the TLS object of every connection. Against loading another
    certificate into the same context, nothing of the old one remains: no slot for a key of another
    type, no session tickets, no authorities.
    """

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> LiveContext:
        """A context of its own, which nobody uses."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, current: ssl.SSLContext) -> None:
        self.current = current

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self.current.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _set_rules(context: ssl.SSLContext, rules: TlsRules) -> None:
    minimum = ssl.TLSVersion[rules.minimum]
    is_old = minimum < ssl.TLSVersion.TLSv1_2
    with warnings.catch_warnings():
        # that older versions should not be used: whoever asks for them knows
        warnings.simplefilter("ignore", DeprecationWarning)
        # without a suite for older versions there is only this one
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if rules.suites == () else minimum
    context.set_alpn_protocols(list(rules.protocols))
    if rules.suites or is_old:
        # the hash functions of TLS 1.0 and 1.1 are below every other level
        level = ["@SECLEVEL=0"] if is_old else []
        try:
            context.set_ciphers(":".join([*(rules.suites or ["DEFAULT"]), *level]))
        except ssl.SSLError:
            names = ", ".join(rules.suites or ())
            raise CertificateError(f"OpenSSL has none of the cipher suites {names}") from None


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """The ssl module reads certificates only from files: one in memory, where there are such.

    So no folder need be writable, and the key is on no disk.
    """
    if sys.platform == "linux":
        with open(os.memfd_create("certificate"), "wb", buffering=0) as memory:
            memory.write(pem)
            context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
    else:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(file.name)
