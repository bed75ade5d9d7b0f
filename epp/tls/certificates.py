"""The certificate of a port: from a folder, or made at start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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
    chain_file, key_file = key_pair_files(folder)
    chain, key = _read(chain_file), _read(key_file)
    certificates = _certificates(chain, chain_file)
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise CertificateError(f"{key_file}: no unencrypted PEM private key") from None
    if certificates[0].public_key() != private.public_key():
        raise CertificateError(f"{key_file}: is not the key of {chain_file}")
    return KeyPair(chain=chain, key=key)


def key_pair_files(folder: Path) -> tuple[Path, Path]:
    """Where the chain and the key of a folder are."""
    return folder / "tls.crt", folder / "tls.key"


def read_authorities(path: Path) -> bytes:
    """The certificates of a PEM file, of those who may sign others; DER, one after the other.

    Raises:
        CertificateError: the file is unreadable, or has no certificate.
    """
    return b"".join(
        [c.public_bytes(serialization.Encoding.DER) for c in _certificates(_read(path), path)]
    )


def _certificates(pem: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise CertificateError(f"{path}: no PEM certificate") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # a NUL byte, or characters that are none
        raise CertificateError(f"{str(path)!r}: cannot be a path: {error}") from None


def make_self_signed(*, is_rsa: bool = False) -> KeyPair:
    """A fresh certificate for one start; ``is_rsa`` for those whose cipher suites demand it.

    Differs: the Go picker makes an RSA key of 4096 bits, which can take seconds; this is an EC key
    on P-256, or an RSA key of 2048 bits. Clients cannot verify any of them.

    Source: gateway-api-inference-extension 2aaf2a6, internal/tls/tls.go.
    """
    key = rsa.generate_private_key(65537, 2048) if is_rsa else _make_ec_key()
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


def _make_ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


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
