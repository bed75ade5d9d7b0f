from __future__ import annotations

import pytest

from epp.flags.options import read_options
from epp.flags.validation import OptionsError, validate

SELECTOR = "--endpoint-selector=app=vllm"


@pytest.mark.parametrize(
    "argv",
    [
        [],  # whether a pool is needed depends on the configuration
        ["--pool-name=p"],
        [SELECTOR, "--endpoint-target-ports=0,65535"],
        [SELECTOR, "--endpoint-target-ports=1,2,3,4,5,6,7,8,8"],
        ["--pool-name=p", "--pool-group=inference.networking.x-k8s.io"],
        ["--pool-name=p", "--refresh-metrics-interval=1ms"],
        ["--pool-name=p", "--metrics-cert-dir=d"],
        ["--metrics-cert-dir=d", "--metrics-endpoint-auth=false", "--metrics-client-ca-file=f"],
        ["--tls-min-version=VersionTLS13", "--tls-cipher-suites=, TLS_RSA_WITH_RC4_128_SHA"],
        ["--plugin-budget=1s", "--plugin-hard-limit=1s"],
        ["--plugin-budget=1s", "--plugin-hard-limit=0"],
        ["--plugin-budget=0"],
    ],
)
def test_what_fits_together_is_taken(argv: list[str]) -> None:
    validate(read_options(argv, {})[0])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--pool-name=p", SELECTOR, "--endpoint-target-ports=1"],
            "either pool-name or endpoint-selector must be set",
        ),
        *(
            ([SELECTOR, *ports], 'flag "endpoint-target-ports" should have length from 1 to 8')
            for ports in ([], ["--endpoint-target-ports=1,2,3,4,5,6,7,8,9"])
        ),
        *(
            (
                [SELECTOR, f"--endpoint-target-ports=8000,{port}"],
                f'invalid port number {port} in "endpoint-target-ports"',
            )
            for port in (-1, 65536)
        ),
        (
            ["--pool-name=p", "--config-file=f", "--config-text=t"],
            'both the "configText" and "configFile" flags can not be set at the same time',
        ),
        (
            ["--pool-name=p", "--model-server-metrics-scheme=ftp"],
            'unexpected "ftp" value for "model-server-metrics-scheme" flag, '
            "it can only be set to 'http' or 'https'",
        ),
        (["--pool-name=p", "--pool-group=example.com"], "unknown group: example.com"),
        (
            ["--plugin-budget=1s"],
            'the "plugin-hard-limit" flag must not be shorter than "plugin-budget"',
        ),
        *(
            (["--pool-name=p", f"--{name}=0"], f'the "{name}" flag must be longer than 0')
            for name in ("refresh-metrics-interval", "refresh-prometheus-metrics-interval")
        ),
        (["--pool-name=p", "--drain-delay=-1s"], 'the "drain-delay" flag must not be negative'),
        *(
            (["--pool-name=p", f"--{name}={port}"], f'the "{name}" flag must be within 0..65535')
            for name in (
                "grpc-port",
                "grpc-health-port",
                "metrics-port",
                "model-server-metrics-port",
            )
            for port in (-1, 65536)
        ),
        (
            ["--pool-name=p", "--grpc-max-recv-msg-size=2Gi"],
            'the "grpc-max-recv-msg-size" flag must be at most 2147483647 bytes',
        ),
        (
            ["--grpc-max-strikes=0"],
            'the "grpc-max-strikes" flag must be within 1..2147483647',
        ),
        (
            ["--tls-min-version=TLS12"],
            'invalid tls-min-version "TLS12": unknown TLS version "TLS12"; supported values: '
            "VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13",
        ),
        (
            ["--tls-cipher-suites=TLS_AES_128_GCM_SHA256,AES128-SHA"],
            'invalid tls-cipher-suites: unknown cipher suite "AES128-SHA"',
        ),
        (["--metrics-client-ca-file=f"], '"metrics-client-ca-file" requires "metrics-cert-dir"'),
        (
            ["--metrics-cert-dir=d", "--metrics-endpoint-auth=false"],
            '"metrics-cert-dir" requires "metrics-endpoint-auth" or "metrics-client-ca-file"',
        ),
    ],
)
def test_contradictions_are_refused_in_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        validate(read_options(argv, {})[0])
    assert str(caught.value) == message
