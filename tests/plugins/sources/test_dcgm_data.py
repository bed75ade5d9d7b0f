from __future__ import annotations

from epp.core.plugin import PositiveDuration
from epp.core.polling import Polling
from epp.plugins.sources.dcgm_data import DcgmDataSource, DcgmDataSourceParams
from tests.fakes import make_handle


def test_the_exporter_is_in_the_pod_on_its_usual_port() -> None:
    assert DcgmDataSource(DcgmDataSourceParams(), make_handle()).reading == Polling(
        scheme="http", path="/metrics", port=9400, insecure_skip_verify=True, interval_seconds=1.0
    )


def test_the_exporter_may_be_on_the_node() -> None:
    params = DcgmDataSourceParams(use_node_address=True)
    assert DcgmDataSource(params, make_handle()).reading.uses_node_address


def test_a_shorter_interval_than_there_is_is_hardly_meant() -> None:
    params = DcgmDataSourceParams(interval=PositiveDuration(0.01))
    assert [key for key, _ in params.hints()] == ["interval"]
