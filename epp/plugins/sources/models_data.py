"""``models-data-source``: the list of models that every endpoint serves."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from epp.core.datalayer import MODELS_PAGE, DataSource
from epp.core.plugin import Handle, Stability, plugin
from epp.core.polling import PagePath, Polling, PollingParams

DEFAULT_INTERVAL_SECONDS = 1.0


class ModelsDataSourceParams(PollingParams, frozen=True):
    """Where the list is, on the port for requests."""

    scheme: Annotated[Literal["http", "https"], Meta(description="Of the list.")] = "http"
    path: Annotated[PagePath, Meta(description="Of the list.")] = "/v1/models"


@plugin("models-data-source", params=ModelsDataSourceParams, stability=Stability.BETA)
class ModelsDataSource(DataSource):
    """Read which models every endpoint serves, every second.

    Differs: the router reads it as often as the metrics, twenty times a second.

    Source: llm-d-router v0.10, models-data-source.
    """

    delivers = MODELS_PAGE

    def __init__(self, params: ModelsDataSourceParams, handle: Handle) -> None:
        takes_any = params.takes_any_certificate
        self.reading: Polling = Polling(
            scheme=params.scheme,
            path=params.path,
            insecure_skip_verify=True if takes_any is None else takes_any,
            ca_cert_path=params.ca_cert_path,
            client_cert_path=params.client_cert_path,
            client_key_path=params.client_key_path,
            interval_seconds=params.interval or DEFAULT_INTERVAL_SECONDS,
            is_on_serving_port=True,
        )
