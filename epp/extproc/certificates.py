"""The certificate of the ext_proc port: from a folder, or made at start."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=3650)


class CertificateError(Exception):
    """The certificate cannot be used; the text names the file and what is wrong with it."""


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate chain and its private key, both PEM."""

    chain: bytes
    key: bytes


def read_key_pair(folder: Path) -> KeyPair:
    """``tls.crt`` and ``tls.key`` of a folder, checked to belong together.

    Raises:
        CertificateError: a file is missing, unreadable, no PEM, or the two do not match.
    """
    chain_file, key_file = folder / "tls.crt", folder / "tls.key"
    chain, key = _read(chain_file), _read(key_file)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise CertificateError(f"{chain_file}: no PEM certificate") from None
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise CertificateError(f"{key_file}: no unencrypted PEM private key") from None
    if certificates[0].public_key() != private.public_key():
        raise CertificateError(f"{key_file}: is not the key of {chain_file}")
    return KeyPair(chain=chain, key=key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None


def make_self_signed() -> KeyPair:
    """A fresh certificate for one start.

    Differs: the Go picker makes an RSA key of 4096 bits, which can take seconds; this is an EC key
    on P-256. Clients cannot verify either.

    Source: gateway-api-inference-extension 2aaf2a6, internal/tls/tls.go.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Inference Ext")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + LIFETIME)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        chain=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def server_context(pair: KeyPair) -> ssl.SSLContext:
    """TLS for a gRPC server: 1.2 or newer, HTTP/2 by ALPN.

    Raises:
        CertificateError: OpenSSL does not take the pair.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        _load(context, pair.key + b"\n" + pair.chain)
    except ssl.SSLError as error:
        raise CertificateError(f"the certificate cannot be used: {error.reason}") from None
    except OSError as error:
        raise CertificateError(f"the certificate cannot be loaded: {error.strerror}") from None
    return context


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


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
