from __future__ import annotations

from epp.core.datalayer import METRICS_PAGE
from epp.core.polling import Polling
from epp.plugins.sources.metrics_data import MetricsDataSource, MetricsDataSourceParams
from tests.fakes import make_handle


def test_what_is_not_given_is_left_to_the_command_line() -> None:
    source = MetricsDataSource(MetricsDataSourceParams(), make_handle())
    assert source.reading == Polling()
    assert source.delivers == METRICS_PAGE


def test_what_is_given_counts() -> None:
    params = MetricsDataSourceParams(scheme="https", path="/m", port=9, ca_cert_path="/ca")
    assert MetricsDataSource(params, make_handle()).reading == Polling(
        scheme="https", path="/m", port=9, ca_cert_path="/ca", insecure_skip_verify=False
    )
