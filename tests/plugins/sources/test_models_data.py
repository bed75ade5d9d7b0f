from __future__ import annotations

import pytest

from epp.core.plugin import PositiveDuration
from epp.core.polling import Polling
from epp.plugins.sources.models_data import ModelsDataSource, ModelsDataSourceParams
from tests.fakes import make_handle


def test_models_are_listed_on_the_port_for_requests_every_second() -> None:
    assert ModelsDataSource(ModelsDataSourceParams(), make_handle()).reading == Polling(
        scheme="http",
        path="/v1/models",
        insecure_skip_verify=True,
        interval_seconds=1.0,
        is_on_serving_port=True,
    )


@pytest.mark.parametrize(("ca", "takes_any"), [("", True), ("/ca", False)])
def test_certificates_are_checked_where_a_ca_is_named(ca: str, takes_any: bool) -> None:
    params = ModelsDataSourceParams(ca_cert_path=ca, interval=PositiveDuration(7))
    reading = ModelsDataSource(params, make_handle()).reading
    assert (reading.insecure_skip_verify, reading.interval_seconds) == (takes_any, 7.0)
