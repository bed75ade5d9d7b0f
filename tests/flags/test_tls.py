from __future__ import annotations

import ssl

import pytest

from epp.flags.tls import SUITES, TLS13_SUITES, VERSIONS, openssl_suites, openssl_version

# From the registry of cipher suites: what both names stand for.
NUMBERS = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": 0x002F,
    "TLS_RSA_WITH_AES_256_CBC_SHA": 0x0035,
    "TLS_RSA_WITH_AES_128_CBC_SHA256": 0x003C,
    "TLS_RSA_WITH_AES_128_GCM_SHA256": 0x009C,
    "TLS_RSA_WITH_AES_256_GCM_SHA384": 0x009D,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": 0xC009,
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": 0xC00A,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": 0xC013,
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": 0xC014,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": 0xC023,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": 0xC027,
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xC02B,
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": 0xC02C,
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xC02F,
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": 0xC030,
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA8,
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA9,
}
WEAK = {name for name in SUITES if "RC4" in name or "3DES" in name}


def test_every_suite_is_known_or_too_weak_for_an_openssl_of_today() -> None:
    assert set(SUITES) == set(NUMBERS) | WEAK
    assert not TLS13_SUITES & set(SUITES)


@pytest.mark.parametrize(("name", "number"), NUMBERS.items())
def test_a_suite_is_the_one_that_openssl_means(name: str, number: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"{SUITES[name]}:@SECLEVEL=0")
    (chosen,) = [c for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"]
    assert chosen["name"] == SUITES[name]
    assert chosen["id"] & 0xFFFF == number


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["", " "], None),
        (["TLS_RSA_WITH_RC4_128_SHA", " TLS_AES_128_GCM_SHA256 "], ("RC4-SHA",)),
        (["TLS_AES_128_GCM_SHA256"], ()),
    ],
)
def test_blank_names_and_those_of_tls_13_are_skipped(
    names: list[str], expected: tuple[str, ...] | None
) -> None:
    assert openssl_suites(names) == expected


def test_every_version_is_one_of_python_s() -> None:
    assert [ssl.TLSVersion[openssl_version(name)] for name in VERSIONS] == [
        0x0301, 0x0302, 0x0303, 0x0304,
    ]  # fmt: skip
    assert openssl_version("") == "TLSv1_2"


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(ValueError, match='unknown TLS version "SSL"; supported values: Version'):
        openssl_version("SSL")
    with pytest.raises(ValueError, match='unknown cipher suite "NULL"'):
        openssl_suites(["NULL"])
