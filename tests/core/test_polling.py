from __future__ import annotations

import pytest

from epp.core.plugin import PositiveDuration
from epp.core.polling import PollingParams


@pytest.mark.parametrize(
    ("params", "problems", "hints"),
    [
        (PollingParams(), [], []),
        (PollingParams(client_cert_path="/c", client_key_path="/k"), [], []),
        (PollingParams(client_cert_path="/c"), ["clientKeyPath"], []),
        (PollingParams(client_key_path="/k"), ["clientCertPath"], []),
        (PollingParams(interval=PositiveDuration(0.05)), [], []),
        (PollingParams(interval=PositiveDuration(0.01)), [], ["interval"]),
        (PollingParams(ca_cert_path="/ca", insecure_skip_verify=True), [], ["caCertPath"]),
    ],
)
def test_what_does_not_fit_together_is_told(
    params: PollingParams, problems: list[str], hints: list[str]
) -> None:
    assert [key for key, _ in params.problems()] == problems
    assert [key for key, _ in params.hints()] == hints


@pytest.mark.parametrize(
    ("ca", "skip", "takes_any"),
    [("", None, None), ("/ca", None, False), ("/ca", True, True), ("", False, False)],
)
def test_who_names_a_ca_wants_it_asked(ca: str, skip: bool | None, takes_any: bool | None) -> None:
    params = PollingParams(ca_cert_path=ca, insecure_skip_verify=skip)
    assert params.takes_any_certificate is takes_any
