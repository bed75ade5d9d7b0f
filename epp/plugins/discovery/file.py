"""``file-discovery``: the endpoints are listed in a file."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from epp.core.plugin import Discovery, Handle, Params, Stability, plugin


class FileDiscoveryParams(Params, frozen=True):
    """Where the list is."""

    path: Annotated[str, Meta(min_length=1, description="The YAML or JSON file.")]
    watch_file: Annotated[bool, Meta(description="Follow changes of the file.")] = False


@plugin("file-discovery", params=FileDiscoveryParams, stability=Stability.BETA)
class FileDiscovery(Discovery):
    """Take the pool's endpoints from a file instead of Kubernetes.

    Source: llm-d-router v0.10, docs/discovery.md (file-discovery).
    """

    def __init__(self, params: FileDiscoveryParams, handle: Handle) -> None:
        self.path = params.path
        self.watch_file = params.watch_file
