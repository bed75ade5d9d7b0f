"""Pages that are read of every endpoint, again and again, as configurations declare them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from epp.core.plugin import Params, PositiveDuration

MIN_INTERVAL_SECONDS = 0.05

Port = Annotated[int, Meta(ge=1, le=65535)]
PagePath = Annotated[str, Meta(pattern=r"^/\S*$")]


class Polling(msgspec.Struct, frozen=True):
    """A page that every endpoint is asked for.

    None is what the command line says of the metrics page. ``port`` None is the endpoint's port for
    metrics, or with ``is_on_serving_port`` the one for requests; with ``uses_node_address`` the
    page is on the endpoint's node.
    """

    scheme: str | None = None
    path: str | None = None
    port: int | None = None
    insecure_skip_verify: bool | None = None
    ca_cert_path: str = ""
    client_cert_path: str = ""
    client_key_path: str = ""
    interval_seconds: float | None = None
    uses_node_address: bool = False
    is_on_serving_port: bool = False


class PollingParams(Params, frozen=True):
    """How often a page is read, and whom to trust."""

    insecure_skip_verify: Annotated[
        bool | None, Meta(description="Take any certificate of an endpoint.")
    ] = None
    ca_cert_path: Annotated[str, Meta(description="Who signs the endpoints' certificates.")] = ""
    client_cert_path: Annotated[str, Meta(description="What to show to endpoints.")] = ""
    client_key_path: Annotated[str, Meta(description="The key of that certificate.")] = ""
    interval: Annotated[
        PositiveDuration | None, Meta(description="Between two looks at an endpoint.")
    ] = None

    def problems(self) -> Iterable[tuple[str, str]]:
        if bool(self.client_cert_path) != bool(self.client_key_path):
            missing = "clientCertPath" if self.client_key_path else "clientKeyPath"
            yield missing, "clientCertPath and clientKeyPath need each other"

    def hints(self) -> Iterable[tuple[str, str]]:
        yield from interval_hints(self.interval)
        if self.insecure_skip_verify and self.ca_cert_path:
            yield "caCertPath", "has no effect while insecureSkipVerify is true"

    @property
    def takes_any_certificate(self) -> bool | None:
        """Whether it does; None is for others to say.

        Differs: who names a CA wants it asked; in the router it is not, unless
        ``insecureSkipVerify`` is false.
        """
        if self.insecure_skip_verify is None and self.ca_cert_path:
            return False
        return self.insecure_skip_verify


def interval_hints(interval: float | None) -> Iterable[tuple[str, str]]:
    """What to say of a source's interval."""
    if interval is not None and interval < MIN_INTERVAL_SECONDS:
        yield "interval", "50ms is the shortest interval there is"
