from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from epp.tls.certificates import (
    CertificateError,
    KeyPair,
    make_self_signed,
    read_authorities,
    read_key_pair,
)
from tests.tls.handshakes import write_pair


@pytest.mark.parametrize(
    ("is_rsa", "key"), [(False, ec.EllipticCurvePublicKey), (True, rsa.RSAPublicKey)]
)
def test_a_self_signed_certificate_is_one_for_servers(is_rsa: bool, key: type[object]) -> None:
    certificate = x509.load_pem_x509_certificate(make_self_signed(is_rsa=is_rsa).chain)
    assert isinstance(certificate.public_key(), key)
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "O=Inference Ext"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(usage.value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 3650


def test_a_pair_is_read_from_its_folder(tmp_path: Path) -> None:
    pair = make_self_signed()
    write_pair(tmp_path, pair)
    assert read_key_pair(tmp_path) == pair


@pytest.mark.parametrize(
    ("chain", "key", "problem"),
    [
        (None, b"", "tls.crt: No such file or directory"),
        (b"x", b"x", "tls.crt: no PEM certificate"),
        ("own", b"x", "tls.key: no unencrypted PEM private key"),
        ("own", "other", "is not the key of"),
    ],
)
def test_a_pair_that_cannot_serve_is_refused(
    tmp_path: Path, chain: bytes | str | None, key: bytes | str, problem: str
) -> None:
    own, other = make_self_signed(), make_self_signed()
    if chain is not None:
        write_pair(
            tmp_path,
            KeyPair(
                chain=own.chain if isinstance(chain, str) else chain,
                key=other.key if isinstance(key, str) else key,
            ),
        )
    with pytest.raises(CertificateError, match=problem):
        read_key_pair(tmp_path)


def test_authorities_are_read_whatever_stands_between_them(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    first, second = make_self_signed().chain, make_self_signed().chain
    path.write_bytes("Über uns\n".encode() + first + b"\n# and\n" + second)
    both = [x509.load_pem_x509_certificate(chain) for chain in (first, second)]
    expected = b"".join([c.public_bytes(serialization.Encoding.DER) for c in both])
    assert read_authorities(path) == expected


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----"])
def test_a_file_without_authorities_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CertificateError, match=r"ca\.crt: (no PEM cert|No such file)"):
        read_authorities(path)


def test_a_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(CertificateError, match="cannot be a path"):
        read_key_pair(Path("a\0b"))
