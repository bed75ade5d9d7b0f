from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from epp.extproc.certificates import (
    CertificateError,
    KeyPair,
    make_self_signed,
    read_key_pair,
    server_context,
)


def write(folder: Path, pair: KeyPair) -> None:
    (folder / "tls.crt").write_bytes(pair.chain)
    (folder / "tls.key").write_bytes(pair.key)


def test_no_folder_need_be_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_args: object, **_options: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", nowhere)
    if sys.platform == "linux":
        server_context(make_self_signed())
    else:
        with pytest.raises(CertificateError, match="No usable temporary directory"):
            server_context(make_self_signed())


def test_a_self_signed_certificate_is_one_for_servers() -> None:
    certificate = x509.load_pem_x509_certificate(make_self_signed().chain)
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "O=Inference Ext"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(usage.value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 3650


def test_a_pair_is_read_from_its_folder(tmp_path: Path) -> None:
    pair = make_self_signed()
    write(tmp_path, pair)
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
        write(
            tmp_path,
            KeyPair(
                chain=own.chain if isinstance(chain, str) else chain,
                key=other.key if isinstance(key, str) else key,
            ),
        )
    with pytest.raises(CertificateError, match=problem):
        read_key_pair(tmp_path)
