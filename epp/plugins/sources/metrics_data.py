"""``metrics-data-source``: the metrics page of every endpoint."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from epp.core.datalayer import METRICS_PAGE, DataSource
from epp.core.plugin import Handle, Stability, plugin
from epp.core.polling import PagePath, Polling, PollingParams, Port


class MetricsDataSourceParams(PollingParams, frozen=True):
    """Where the page is; what is not given is as the command line says."""

    scheme: Annotated[Literal["http", "https"] | None, Meta(description="Of the page.")] = None
    path: Annotated[PagePath | None, Meta(description="Of the page.")] = None
    port: Annotated[Port | None, Meta(description="The same for all target ports.")] = None


@plugin("metrics-data-source", params=MetricsDataSourceParams, stability=Stability.BETA)
class MetricsDataSource(DataSource):
    """Read the metrics of every endpoint.

    Source: llm-d-router v0.10, metrics-data-source.
    """

    delivers = METRICS_PAGE

    def __init__(self, params: MetricsDataSourceParams, handle: Handle) -> None:
        self.reading: Polling = Polling(
            scheme=params.scheme,
            path=params.path,
            port=params.port,
            insecure_skip_verify=params.takes_any_certificate,
            ca_cert_path=params.ca_cert_path,
            client_cert_path=params.client_cert_path,
            client_key_path=params.client_key_path,
            interval_seconds=params.interval,
        )
