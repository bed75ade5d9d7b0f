"""``dcgm-data-source``: what NVIDIA's exporter tells of the GPUs of every endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from epp.core.datalayer import METRICS_PAGE, DataSource
from epp.core.plugin import Handle, Params, PositiveDuration, Stability, plugin
from epp.core.polling import PagePath, Polling, Port, interval_hints

DEFAULT_INTERVAL_SECONDS = 1.0


class DcgmDataSourceParams(Params, frozen=True):
    """Where the exporter is."""

    scheme: Annotated[Literal["http", "https"], Meta(description="Of the page.")] = "http"
    path: Annotated[PagePath, Meta(description="Of the page.")] = "/metrics"
    port: Annotated[Port, Meta(description="Of the exporter.")] = 9400
    insecure_skip_verify: Annotated[bool, Meta(description="Take any certificate.")] = True
    use_node_address: Annotated[
        bool, Meta(description="The exporter is on the pod's node, not in the pod.")
    ] = False
    interval: Annotated[
        PositiveDuration | None, Meta(description="Between two looks at an endpoint.")
    ] = None

    def hints(self) -> Iterable[tuple[str, str]]:
        return interval_hints(self.interval)


@plugin("dcgm-data-source", params=DcgmDataSourceParams, stability=Stability.ALPHA)
class DcgmDataSource(DataSource):
    """Read the exporter's metrics for every endpoint, every second.

    The address of a node is known of pods; endpoints out of a file are asked themselves.
    Differs: the router reads it as often as the metrics, twenty times a second.

    Source: llm-d-router v0.10, dcgm-data-source.
    """

    delivers = METRICS_PAGE

    def __init__(self, params: DcgmDataSourceParams, handle: Handle) -> None:
        self.reading: Polling = Polling(
            scheme=params.scheme,
            path=params.path,
            port=params.port,
            insecure_skip_verify=params.insecure_skip_verify,
            interval_seconds=params.interval or DEFAULT_INTERVAL_SECONDS,
            uses_node_address=params.use_node_address,
        )
