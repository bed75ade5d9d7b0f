"""``k8s-notification-source``: the objects of one kind in the cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from epp.core.datalayer import NODE, DataSource, ObjectKind
from epp.core.plugin import Handle, Params, Stability, plugin


class K8sNotificationSourceParams(Params, frozen=True):
    """Which kind."""

    version: Annotated[str, Meta(min_length=1, description="Of the API group.")]
    kind: Annotated[str, Meta(min_length=1, description="As objects spell it.")]
    group: Annotated[str, Meta(description="The API group; empty is the core.")] = ""

    def hints(self) -> Iterable[tuple[str, str]]:
        given = ObjectKind(self.group, self.version, self.kind)
        if given != NODE:
            yield "kind", f"nothing reads {given}: only {NODE} is watched"


@plugin("k8s-notification-source", params=K8sNotificationSourceParams, stability=Stability.BETA)
class K8sNotificationSource(DataSource):
    """Follow the objects of a kind.

    Differs: the router watches any kind; here it is Nodes only, as no extractor reads another.

    Source: llm-d-router v0.10, k8s-notification-source.
    """

    def __init__(self, params: K8sNotificationSourceParams, handle: Handle) -> None:
        self.reading: ObjectKind = ObjectKind(params.group, params.version, params.kind)
        self.delivers = str(self.reading)
