"""Real handshakes with a context, on asyncio and on uvloop, and certificates to make them with."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from epp.tls.certificates import KeyPair

_PEM = serialization.Encoding.PEM


class Seen(msgspec.Struct, frozen=True):
    """What a client saw of a server."""

    certificate: bytes
    version: str | None
    cipher: str
    protocol: str | None


def client_context(
    *,
    version: ssl.TLSVersion | None = None,
    protocols: Sequence[str] = ("h2",),
    pair: KeyPair | None = None,
) -> ssl.SSLContext:
    """A client that verifies nothing; ``version`` is the only one that it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
    if pair:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(pair.key + pair.chain)
            file.flush()
            context.load_cert_chain(file.name)
    return context


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port whose connections are greeted with one byte."""

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def shake_hands(port: int, context: ssl.SSLContext, name: str | None = None) -> Seen:
    """Connect, be greeted and leave.

    Raises:
        OSError: the server refused the client, or the client the server.
    """
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=name
    )
    try:
        if await reader.read(1) != b"!":
            raise ConnectionResetError
        connection = writer.get_extra_info("ssl_object")
        cipher = connection.cipher()
        assert cipher
        return Seen(
            connection.getpeercert(binary_form=True),
            connection.version(),
            cipher[0],
            connection.selected_alpn_protocol(),
        )
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def der(pair: KeyPair) -> bytes:
    """The certificate of a pair as a client sees it."""
    return x509.load_pem_x509_certificate(pair.chain).public_bytes(serialization.Encoding.DER)


def write_pair(folder: Path, pair: KeyPair) -> None:
    """As tls.crt and tls.key."""
    (folder / "tls.crt").write_bytes(pair.chain)
    (folder / "tls.key").write_bytes(pair.key)


def local_pair() -> KeyPair:
    """A certificate that a client can verify: for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    local = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    return KeyPair(chain=_sign(key, "localhost", key, "localhost", local), key=_private(key))


class Authority:
    """Signs the certificates of clients."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        is_authority = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = _sign(self._key, "authority", self._key, "authority", is_authority)

    def client(self) -> KeyPair:
        """A certificate for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        is_none = x509.BasicConstraints(ca=False, path_length=None)
        chain = _sign(self._key, "authority", key, "client", is_none)
        return KeyPair(chain=chain, key=_private(key))


def _sign(
    signer: ec.EllipticCurvePrivateKey,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    subject: str,
    extension: x509.ExtensionType,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(_PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    encryption = serialization.NoEncryption()
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption)
